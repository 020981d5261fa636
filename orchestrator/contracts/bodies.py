"""Values held to JSON Schemas: each breach with the path of the field that breaks it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from messaging.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """What is wrong, and with which field: `body.result.amount`, `headers.saga-attempt`."""

    field: str
    detail: str


def breaches(value: Any, schema: Mapping[str, Any], *, where: str) -> Iterator[Breach]:
    """Every breach. Raises ConfigurationError without the library that reads schemas."""
    for error in sorted(_validator(schema).iter_errors(value), key=lambda each: list(each.path)):
        path = ".".join([where, *(str(part) for part in error.absolute_path)])
        if error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            yield from (Breach(field=f"{path}.{name}", detail="is missing") for name in missing)
        else:
            yield Breach(field=path, detail=_words(error))


def _validator(schema: Mapping[str, Any]) -> Any:
    try:
        from jsonschema import Draft202012Validator  # noqa: PLC0415  # only who verifies needs it
    except ImportError as error:
        raise ConfigurationError(
            "answers cannot be held to the contract without the package jsonschema; "
            "pip install 'countermand[contracts]'"
        ) from error
    return Draft202012Validator(schema)


def _words(error: Any) -> str:
    """Without the value itself where it may be long, or nobody's business."""
    match error.validator:
        case "type":
            wanted = error.validator_value
            kinds = wanted if isinstance(wanted, str) else " or ".join(wanted)
            return f"is {_kind_of(error.instance)}, and shall be {kinds}"
        case "const":
            return f"shall be {error.validator_value!r}"
        case "enum":
            return f"shall be one of {', '.join(map(repr, error.validator_value))}"
        case _:
            return f"breaks {error.validator}: {error.validator_value}"


def _kind_of(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")
