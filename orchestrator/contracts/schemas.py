"""JSON Schemas as plain dicts: of models, guessed from examples, joined, and values that fit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = Mapping[str, Any]

ANYTHING: Final[Schema] = {}
_NOISE: Final = frozenset({"$defs"})
_MAX_DEPTH: Final = 12
_SAMPLES: Final[Mapping[str, Any]] = {
    "boolean": True,
    "null": None,
    "date-time": "2030-01-02T03:04:05Z",
    "date": "2030-01-02",
    "time": "03:04:05Z",
    "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "email": "someone@example.org",
    "uri": "https://example.org/",
}


def schema_of(model: "type[BaseModel]", *, sent: bool) -> Schema:
    """The model's schema without references: as what it sends looks, or what it accepts."""
    mode: Literal["serialization", "validation"] = "serialization" if sent else "validation"
    written = model.model_json_schema(mode=mode, by_alias=not sent)
    return _inlined(written, written.get("$defs", {}), ())  # type: ignore[no-any-return]


def _inlined(node: Any, known: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    """With each reference replaced by what it means; a model within itself is anything."""
    match node:
        case {"$ref": str(reference), **beside}:
            name = reference.rpartition("/")[2]
            if name in within:
                return {"title": name}
            meant = _inlined(known.get(name, {}), known, (*within, name))
            return {**meant, **_inlined(beside, known, within)}
        case dict():
            return {
                key: _inlined(value, known, within)
                for key, value in node.items()
                if key not in _NOISE
            }
        case list():
            return [_inlined(each, known, within) for each in node]
        case _:
            return node


def guessed(value: Any) -> Schema:
    """What an example tells: kinds only. Whole numbers may as well have been others."""
    match value:
        case bool():
            return {"type": "boolean"}
        case int() | float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case Mapping():
            fields = {str(key): guessed(each) for key, each in value.items()}
            return {"type": "object", "properties": fields}
        case Sequence():
            items = joined(guessed(each) for each in value)
            return {"type": "array", "items": items} if items else {"type": "array"}
        case _:
            return ANYTHING


def joined(schemas: Iterable[Schema]) -> Schema:
    """One schema for what any of them allows."""
    different = [*{repr(each): each for each in schemas}.values()]
    if not different or any(not each for each in different):
        return ANYTHING
    if len(different) == 1:
        return different[0]
    if all(set(each) <= {"type", "properties"} for each in different) and (
        {each.get("type") for each in different} == {"object"}
    ):
        return {"type": "object", "properties": _joined_fields(different)}
    return {"anyOf": different}


def _joined_fields(schemas: Sequence[Schema]) -> dict[str, Schema]:
    names = dict.fromkeys(name for each in schemas for name in each.get("properties", {}))
    return {
        name: joined(
            each["properties"][name] for each in schemas if name in each.get("properties", {})
        )
        for name in names
    }


def fields_of(schema: Schema) -> Mapping[str, Schema]:
    """The fields that an object of that kind may have, as far as they are named."""
    found: dict[str, Schema] = {}
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ()), schema):
        found |= part.get("properties", {})
    return found


def required_of(schema: Schema) -> frozenset[str]:
    """The fields that every object of that kind has."""
    everywhere = [frozenset(schema.get("required", ()))]
    everywhere += [required_of(each) for each in schema.get("allOf", ())]
    if schema.get("anyOf"):
        everywhere.append(frozenset.intersection(*map(required_of, schema["anyOf"])))
    return frozenset().union(*everywhere)


def sample_of(schema: Schema, depth: int = 0) -> Any:
    """Some value that fits, the same each time: an example, a default, or the plainest one."""
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return sample_of(schema[key][0], depth + 1)
    return None if depth > _MAX_DEPTH else _sample_by_kind(schema, depth)


def _sample_by_kind(schema: Schema, depth: int) -> Any:
    kind = schema.get("type", "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            fields, needed = fields_of(schema), required_of(schema)
            return {key: sample_of(fields[key], depth + 1) for key in fields if key in needed}
        case "array":
            return _sample_items(schema, depth)
        case "integer" | "number":
            return _sample_number(schema)
        case "string":
            return _sample_text(schema)
        case other:
            return _SAMPLES.get(other)


def _sample_items(schema: Schema, depth: int) -> list[Any]:
    if schema.get("prefixItems"):
        return [sample_of(each, depth + 1) for each in schema["prefixItems"]]
    return [sample_of(schema.get("items") or {}, depth + 1)] * max(1, schema.get("minItems", 1))


def _sample_number(schema: Schema) -> Any:
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is not None and below is not None and below - above <= 1:
        return (above + below) / 2
    least = schema.get("minimum", 1 if above is None else above + 1)
    most = schema.get("maximum", max(1, least) if below is None else below - 1)
    return min(max(1, least), most)


def _sample_text(schema: Schema) -> str:
    known = _SAMPLES.get(schema.get("format", ""))
    if known:
        return str(known)
    text = str(schema.get("title") or "text").lower().replace(" ", "-")
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1_000_000)
    return text.ljust(least, "x")[:most]
