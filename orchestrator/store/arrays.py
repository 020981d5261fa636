"""Values, and columns of them, as Postgres's binary arrays.

The driver's own dumper asks every element for its type; a column's is known beforehand.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, Final, NamedTuple

from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD: Final = Struct(">iiiii").pack  # dimensions, has nulls, type of elements, length, first index
_LENGTH: Final = Struct(">i").pack
_NULL: Final = _LENGTH(-1)
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)  # of time, for Postgres
_MICROSECOND: Final = timedelta(microseconds=1)


class Array(bytes):
    """An array as it is sent."""


class TextArray(Array):
    """`text[]`."""


class JsonArray(Array):
    """`json[]`, of texts."""


class IntegerArray(Array):
    """`integer[]`."""


class BigintArray(Array):
    """`bigint[]`."""


class MomentArray(Array):
    """`timestamptz[]`."""


class Type(NamedTuple):
    """OIDs, fixed in Postgres's catalogue."""

    array: int
    element: int


def type_of(kind: type[Array]) -> Type:
    return _TYPES[kind]


def array_of(kind: type[Array], values: Sequence[Any]) -> Array:
    """One column. UnicodeEncodeError, OverflowError or TypeError for what it cannot hold."""
    write = _WRITERS[kind]
    head = _HEAD(1, 1, _TYPES[kind].element, len(values), 1)
    if len(values) == 1:
        (value,) = values
        return kind(head + _in_array(write, value))
    distinct = set(values)  # in most columns many rows say the same
    written = {value: _in_array(write, value) for value in distinct}
    return kind(b"".join([head, *map(written.__getitem__, values)]))


def element_of(kind: type[Array], value: Any) -> bytes | None:
    """One value of such a column, as it is sent alone. Raises as `array_of` does."""
    return None if value is None else _WRITERS[kind](value)


def moment_from(value: bytes) -> datetime:
    """A `timestamptz` as it is sent."""
    return _BEGINNING + int.from_bytes(value, "big", signed=True) * _MICROSECOND


def register(context: AdaptContext) -> None:
    """Let this connection send them."""
    for kind, dumper in _DUMPERS.items():
        context.adapters.register_dumper(kind, dumper)


def _in_array(write: Callable[[Any], bytes], value: Any) -> bytes:
    if value is None:
        return _NULL
    written = write(value)
    return _LENGTH(len(written)) + written


def _text(value: str) -> bytes:
    return str.encode(value)  # TypeError for anything else


def _integer(value: int) -> bytes:
    return int.to_bytes(value, 4, "big", signed=True)


def _bigint(value: int) -> bytes:
    return int.to_bytes(value, 8, "big", signed=True)


def _moment(value: datetime) -> bytes:
    return _bigint((value - _BEGINNING) // _MICROSECOND)


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj


_WRITERS: Final[Mapping[type[Array], Any]] = {
    TextArray: _text,
    JsonArray: _text,
    IntegerArray: _integer,
    BigintArray: _bigint,
    MomentArray: _moment,
}
_TYPES: Final = {
    TextArray: Type(1009, 25),
    JsonArray: Type(199, 114),
    IntegerArray: Type(1007, 23),
    BigintArray: Type(1016, 20),
    MomentArray: Type(1185, 1184),
}
_DUMPERS: Final = {
    kind: type(f"{kind.__name__}Dumper", (_AsItIs,), {"oid": oids.array})
    for kind, oids in _TYPES.items()
}
