"""`dataclasses.replace` for the values of the core: a copy slot by slot, without its questions."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, Final, TypeVar

Value = TypeVar("Value")
Put = Callable[[object, object], None]

put_by_name: Final = object.__setattr__
"""Into a frozen value that nobody else sees yet."""


def changed(value: Value, **changes: Any) -> Value:
    """A copy of a frozen value with these fields changed."""
    kind: Any = type(value)
    values_of, puts = _slots_of(kind)
    copy: Value = object.__new__(kind)
    for put, known in zip(puts, values_of(value), strict=True):
        put(copy, known)
    for name, new in changes.items():
        put_by_name(copy, name, new)
    return copy


@cache
def _slots_of(kind: Any) -> tuple[Callable[[object], tuple[Any, ...]], tuple[Put, ...]]:
    names = [field.name for field in fields(kind)]
    return attrgetter(*names), tuple(getattr(kind, name).__set__ for name in names)
