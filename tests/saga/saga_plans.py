"""Every plan of a size: in a row and with stages in parallel, with and without compensations,
with a pivot at each place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from saga_stories import ONCE, TWICE, plan, step

from orchestrator.saga.plan import OnExhausted, OnTimeout, PlannedStep, RetryPolicy

Shape = tuple[int, ...]  # how many steps each stage has
Plan = tuple[PlannedStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the steps of a plan are tried, and what becomes of what cannot be undone."""

    retry: RetryPolicy = ONCE
    compensation_retry: RetryPolicy = ONCE
    on_timeout: OnTimeout = OnTimeout.COMPENSATE
    on_exhausted: OnExhausted = OnExhausted.HALT


MANNERS: Final[Mapping[str, Manner]] = {
    "once": Manner(),
    "resend": Manner(retry=TWICE, on_timeout=OnTimeout.RESEND),
    "stubborn": Manner(compensation_retry=TWICE, on_exhausted=OnExhausted.CONTINUE),
    "twice": Manner(retry=TWICE, compensation_retry=TWICE),
    "dogged": Manner(
        retry=TWICE,
        compensation_retry=TWICE,
        on_timeout=OnTimeout.RESEND,
        on_exhausted=OnExhausted.CONTINUE,
    ),
}
SHAPES: Final[Mapping[int, Sequence[Shape]]] = {
    0: [()],
    1: [(1,)],
    2: [(1, 1), (2,)],
    3: [(1, 1, 1), (2, 1), (1, 2), (3,)],
    4: [(1, 1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2), (3, 1), (1, 3), (4,)],
}


def plans(size: int, manner: Manner) -> Iterator[tuple[str, tuple[PlannedStep, ...]]]:
    """Each with a name that shows it: `a+ b- (c+ d+)`; `+` can be undone, `!` is the pivot."""
    for shape in SHAPES[size]:
        alone = [stage for stage, steps in enumerate(shape) if steps == 1]
        for pivot, undoable in product([None, *alone], product((True, False), repeat=size)):
            stages = _stages(shape, pivot, undoable, manner)
            if stages is not None and _is_in_order(stages):
                yield _name_of(stages), plan(*stages)


def _stages(
    shape: Shape, pivot: int | None, undoable: Sequence[bool], manner: Manner
) -> list[list[PlannedStep]] | None:
    """None: nothing after the pivot can be undone, so that there is no such plan."""
    left = list(zip("abcd", undoable, strict=False))
    stages = []
    for number, steps in enumerate(shape):
        mine, left = left[:steps], left[steps:]
        if pivot is not None and number > pivot and any(undo for _, undo in mine):
            return None
        stages.append([_step(name, undo, number == pivot, manner) for name, undo in mine])
    return stages


def _is_in_order(stages: Sequence[Sequence[PlannedStep]]) -> bool:
    """Of the plans that differ only in how a stage's steps are listed, one will do."""
    orders = [[step.compensation is None for step in stage] for stage in stages]
    return all(order == sorted(order) for order in orders)


def _step(name: str, undo: bool, pivot: bool, manner: Manner) -> PlannedStep:
    more: dict[str, Any] = {
        "retry": manner.retry,
        "compensation_retry": manner.compensation_retry,
        "on_timeout": manner.on_timeout,
    }
    return step(name, undo=undo, pivot=pivot, **more)


def _name_of(stages: Sequence[Sequence[PlannedStep]]) -> str:
    words = []
    for stage in stages:
        marks = [
            f"{each.name}{'+' if each.compensation else '-'}{'!' if each.pivot else ''}"
            for each in stage
        ]
        words.append(marks[0] if len(marks) == 1 else f"({' '.join(marks)})")
    return " ".join(words)
