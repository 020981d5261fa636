"""A saga's data beside their JSON, which is written once and then taken over as it is."""

import json
from collections.abc import Mapping
from typing import Any, Final

encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Written(dict[str, Any]):
    """A JSON object that knows its text. Nobody changes it."""

    __slots__ = ("json",)

    def __init__(self, values: Mapping[str, Any], json: str | None = None) -> None:
        super().__init__(values)
        self.json: Final = encode(values) if json is None else json


def json_of(values: Mapping[str, Any]) -> str:
    """The object's JSON, as it was read or written before if that is known."""
    return values.json if isinstance(values, Written) else encode(values)


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> Written:
    """`values` with `more` laid over them; what is written already is not written again."""
    if values.keys().isdisjoint(more):
        both = Written(values, together(json_of(values), json_of(more)))
        both.update(more)
        return both
    return Written({**values, **more})


def together(*objects: str) -> str:
    """One JSON object of several that have no key in common, each of them as it is written."""
    insides = [inside for text in objects if (inside := text.strip()[1:-1].strip())]
    return f"{{{','.join(insides)}}}"
