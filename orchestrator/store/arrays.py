"""Columns of values as Postgres's binary arrays.

The driver's own dumper asks every element for its type; a column's is known beforehand.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, Final

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


def array_of(kind: type[Array], values: Sequence[Any]) -> Array:
    """One column. UnicodeEncodeError, OverflowError or TypeError for what it cannot hold."""
    write, (_, element) = _WRITERS[kind], _OIDS[kind]
    head = _HEAD(1, 1, element, len(values), 1)
    if len(values) == 1:
        (value,) = values
        return kind(head + (_NULL if value is None else write(value)))
    distinct = set(values)  # in most columns many rows say the same
    written = {value: _NULL if value is None else write(value) for value in distinct}
    return kind(b"".join([head, *map(written.__getitem__, values)]))


def register(context: AdaptContext) -> None:
    """Let this connection send them."""
    for kind, dumper in _DUMPERS.items():
        context.adapters.register_dumper(kind, dumper)


def _text(value: str) -> bytes:
    written = str.encode(value)  # TypeError for anything else
    return _LENGTH(len(written)) + written


def _integer(value: int) -> bytes:
    return _LENGTH(4) + int.to_bytes(value, 4, "big", signed=True)


def _bigint(value: int) -> bytes:
    return _LENGTH(8) + int.to_bytes(value, 8, "big", signed=True)


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
# Of the array and of its elements; fixed in Postgres's catalogue.
_OIDS: Final = {
    TextArray: (1009, 25),
    JsonArray: (199, 114),
    IntegerArray: (1007, 23),
    BigintArray: (1016, 20),
    MomentArray: (1185, 1184),
}
_DUMPERS: Final = {
    kind: type(f"{kind.__name__}Dumper", (_AsItIs,), {"oid": array})
    for kind, (array, _) in _OIDS.items()
}
