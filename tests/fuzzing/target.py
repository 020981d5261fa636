"""One property to be tried with many inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st

Input = TypeVar("Input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`check` raises for an input that shows a fault."""

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    examples: int  # in the short run


TARGETS: dict[str, Target] = {}


def target(
    inputs: st.SearchStrategy[Input], *, examples: int = 60
) -> Callable[[Callable[[Input], None]], Callable[[Input], None]]:
    """Makes a target of a function, under the function's name."""

    def register(check: Callable[[Input], None]) -> Callable[[Input], None]:
        name = check.__name__
        assert name not in TARGETS, f"two targets are named {name}"
        TARGETS[name] = Target(name=name, inputs=inputs, check=check, examples=examples)
        return check

    return register
