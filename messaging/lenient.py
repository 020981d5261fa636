"""Lets pamqp read the malformed properties and headers that brokers accept.

RabbitMQ stores texts that are not UTF-8, timestamps beyond the year 9999 and tables thousands
of levels deep. pamqp raises on each of them, which ends the connection; the broker then
delivers the same message again, for ever. So four of its decoders are replaced.
"""

import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

from pamqp import decode

from messaging.errors import ConfigurationError
from messaging.poison import poison

MAX_DEPTH: Final = 8

_Decoder = Callable[[bytes], tuple[int, Any]]
_LENGTH: Final = struct.Struct(">I")
_LONGEST_NUMBER: Final = 8
_strict_timestamp: Final = decode.timestamp


def install() -> None:
    """Replace the decoders for the whole process. Any number of times."""
    decode.METHODS.update(
        {"shortstr": short_text, "timestamp": moment, "table": table, "array": array}
    )
    decode.TABLE_MAPPING.update({b"T": moment, b"F": table, b"A": array})


def self_test() -> None:
    """ConfigurationError if malformed frames would still end a connection."""
    for sample in poison(MAX_DEPTH):
        problem = sample.problem()
        if problem:
            raise ConfigurationError(
                f"pamqp {version('pamqp')} does not survive {sample.name}: {problem}."
                " One such message would stop this program again and again;"
                " install the pamqp release that uv.lock names"
            )


def short_text(value: bytes) -> tuple[int, str]:
    """Text with backslash escapes for NUL and for bytes that are not UTF-8."""
    if not value:
        raise ValueError("a short string has no length")
    end = 1 + value[0]
    return end, _text(value[1:end])


def moment(value: bytes) -> tuple[int, datetime | None]:
    """A point in time; None if Python's calendar does not reach that far."""
    try:
        return _strict_timestamp(value)
    except (OverflowError, OSError, ValueError):
        if len(value) < 8:
            raise
        return 8, None


def table(value: bytes) -> tuple[int, dict[str, Any]]:
    """A table, cut at depth 8; after an entry that cannot be read, the rest is left out."""
    end = _end_of(value, 0)
    return end, _table(value, 4, end, 1)


def array(value: bytes) -> tuple[int, list[Any]]:
    """An array, cut like a table."""
    end = _end_of(value, 0)
    return end, _array(value, 4, end, 1)


def _table(value: bytes, offset: int, end: int, depth: int) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    with suppress(ValueError, IndexError):  # the table's own length tells where to go on
        while offset < end:
            start, offset = offset + 1, offset + 1 + value[offset]
            key = _text(value[start:offset])
            offset, entries[key] = _entry(value, offset, depth)
    return entries


def _array(value: bytes, offset: int, end: int, depth: int) -> list[Any]:
    entries: list[Any] = []
    with suppress(ValueError, IndexError):
        while offset < end:
            offset, entry = _entry(value, offset, depth)
            entries.append(entry)
    return entries


def _entry(value: bytes, offset: int, depth: int) -> tuple[int, Any]:
    """Where the entry at `offset` ends, and what it is. Nothing is copied but the entry."""
    kind, start = value[offset : offset + 1], offset + 1
    if kind in {b"F", b"A"}:
        end = _end_of(value, start)
        if depth == MAX_DEPTH:
            return end, None
        inside = _table if kind == b"F" else _array
        return end, inside(value, start + 4, end, depth + 1)
    decoder = decode.TABLE_MAPPING.get(kind)
    if decoder is None:
        raise ValueError(f"{kind!r} is no type of a header")
    end = _end_of(value, start) if kind in {b"S", b"x"} else start + _LONGEST_NUMBER
    consumed, entry = decoder(value[start:end])
    return start + consumed, entry


def _end_of(value: bytes, offset: int) -> int:
    """The end of what begins with its length at `offset`."""
    if offset + 4 > len(value):
        raise ValueError("a length is cut off")
    end: int = offset + 4 + _LENGTH.unpack_from(value, offset)[0]
    if end > len(value):
        raise ValueError("a length exceeds the data")
    return end


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace").replace("\0", "\\x00")
