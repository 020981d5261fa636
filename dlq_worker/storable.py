"""Values from outside in a form that every database takes and no terminal obeys."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_TEXT: Final = 4 * 1024
MAX_ITEMS: Final = 200
MAX_DEPTH: Final = 8
_ALLOWED: Final = "\n\t"
_INTEGERS: Final = range(-(2**63), 2**63)


def storable_text(text: str, limit: int = MAX_TEXT) -> str:
    """At most `limit` characters; what is not printable (NULs, surrogates, escapes) is escaped."""
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() or c in _ALLOWED else c.encode("unicode_escape").decode()
            for c in text[: limit + 1]
        )
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def storable_json(value: Any, depth: int = 0) -> Any:
    """The value as strict JSON would have it, cut where it is too deep or too long."""
    match value:
        case None | bool():
            return value
        case int():
            return value if value in _INTEGERS else str(value)[:MAX_TEXT]
        case str():
            return storable_text(value)
        case bytes():
            return base64.b64encode(value[:MAX_TEXT]).decode()
        case Mapping() | Sequence() if depth >= MAX_DEPTH:
            return "…"
        case Mapping():
            items = list(value.items())[:MAX_ITEMS]
            return {storable_text(str(k)): storable_json(v, depth + 1) for k, v in items}
        case Sequence():
            return [storable_json(item, depth + 1) for item in value[:MAX_ITEMS]]
        case _:
            return storable_text(str(value))
