"""Values that are made for every message: frozen for the type checker, plain at run time.

A frozen dataclass sets each of its fields through `object.__setattr__`, which takes three times
as long as all else in its making.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(kind: type[Kind]) -> type[Kind]:
    """A dataclass with keyword-only fields that nobody may set again."""
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(kind)
