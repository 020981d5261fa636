"""`dataclasses.replace` for the values of the core, which are made anew at every move.

It takes all fields over at once, so it is for frozen dataclasses without slots.
"""

from typing import Any, Final, TypeVar

Value = TypeVar("Value")

_DERIVED: Final = "derived"


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
