"""The values of the core, which are made anew at every move, and how they change.

They are frozen for the type checker and plain at run time: a frozen dataclass takes three times
as long to make. Without slots, because a copy takes over all fields at once.
"""

from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, dataclass_transform

Value = TypeVar("Value")

_DERIVED: Final = "derived"


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(kind: type[Value]) -> type[Value]:
    """A dataclass with keyword-only fields that only `changed` sets, in a copy."""
    return dataclass(kw_only=True, unsafe_hash=True)(kind)


def changed(value: Value, **changes: Any) -> Value:
    """A copy of a frozen value with these fields changed. AttributeError if it has no such."""
    copy: Value = object.__new__(type(value))
    known = vars(value)
    fields = {**known, **changes}
    if len(fields) != len(known):
        raise AttributeError(f"{type(value).__name__} has no {changes.keys() - known.keys()}")
    fields.pop(_DERIVED, None)
    object.__setattr__(copy, "__dict__", fields)
    return copy


def derived(value: object) -> Any:
    """What was worked out of this value before and kept beside its fields, or None."""
    return vars(value).get(_DERIVED)


def keep_derived(value: object, worked_out: object) -> None:
    """Keep it with the value. A changed copy has it no more."""
    vars(value)[_DERIVED] = worked_out
