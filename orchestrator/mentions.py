"""The texts that a definition's code mentions: what can be known of it without a saga's data."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType


def texts_in(definition: type) -> frozenset[str]:
    """Every text in the methods of the class, and in the functions of its module they call."""
    return frozenset(_texts_of_class(definition, set()))


def _texts_of_class(definition: type, seen: set[CodeType]) -> Iterator[str]:
    for each in definition.__mro__:
        for member in vars(each).values():
            function = getattr(member, "__func__", member)
            if isinstance(function, FunctionType):
                yield from _texts_of(function, seen)


def _texts_of(function: FunctionType, seen: set[CodeType]) -> Iterator[str]:
    if function.__code__ in seen:
        return
    for code in _with_inner(function.__code__):
        seen.add(code)
        yield from _in_value(code.co_consts)
        for name in code.co_names:
            if name.startswith("__"):
                continue  # the module's own name looks like a command
            known = function.__globals__.get(name)
            if isinstance(known, FunctionType) and known.__module__ == function.__module__:
                yield from _texts_of(known, seen)
            else:
                yield from _in_value(known)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _with_inner(constant)


def _in_value(value: object, depth: int = 3) -> Iterator[str]:
    """The texts in a constant, in a list or dict of them, or in a step made beforehand."""
    match value:
        case str():
            yield value
        case _ if depth == 0:
            return
        case tuple() | list() | frozenset():
            for each in value:
                yield from _in_value(each, depth - 1)
        case dict():
            yield from _in_value([*value, *value.values()], depth - 1)
        case _ if is_dataclass(value):
            yield from _in_value([getattr(value, field.name, None) for field in fields(value)], 1)
        case _:
            return
