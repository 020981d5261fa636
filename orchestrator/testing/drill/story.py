"""What happened in one run of a drill, in order, as values."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from messaging.contract import Direction

_NUMBER: Final = re.compile(r"\d+")


class Kind(Enum):
    FAULT = auto()  # the drill did something about it
    SENT = auto()  # a command left
    CALLED = auto()  # a handler was called
    CALLED_BLINDLY = auto()  # a compensation's, without the action's result
    REFUSED = auto()  # a handler has said no, or broke
    COMMITTED = auto()  # what a handler did is stored
    SAID_DONE = auto()
    SAID_NO = auto()  # definitely: it has left no effect
    SAID_UNKNOWN = auto()
    LEDGER = auto()  # the books say something else than before
    TIME = auto()  # nothing happened for so long
    SAGA = auto()  # where the saga is


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the story."""

    kind: Kind
    told: str
    step: str | None = None
    direction: Direction | None = None
    count: int = 0  # of LEDGER: the effects of the step that stand


@dataclass(slots=True)
class Story:
    """Events as they happen."""

    events: list[Event] = field(default_factory=list)

    def tell(
        self,
        kind: Kind,
        told: str,
        step: str | None = None,
        direction: Direction | None = None,
        *,
        count: int = 0,
    ) -> None:
        event = Event(kind=kind, told=told, step=step, direction=direction, count=count)
        self.events.append(event)


def about(events: Sequence[Event], step: str | None) -> Iterator[Event]:
    """The shortest story: what concerns this step, what the drill did, and how it ended.
    Without a step, all of it."""
    for event in events:
        if step is None or event.step in {step, None}:
            yield event


def condensed(lines: Sequence[str]) -> Sequence[str]:
    """Lines that come again and again, only once."""
    shapes = [_NUMBER.sub("#", line) for line in lines]
    told: list[str] = []
    at = 0
    while at < len(lines):
        length, again = _longest_repetition(shapes, at)
        told += lines[at : at + length]
        if again:
            which = "this" if length == 1 else f"these {length} lines"
            told.append(f"… {which} {again} more time{'' if again == 1 else 's'} …")
        at += length * (again + 1)
    return told


def _longest_repetition(shapes: Sequence[str], at: int) -> tuple[int, int]:
    """How many lines from here come again, and how often; one line and never, if none does."""
    best = 1, 0
    for length in range(1, (len(shapes) - at) // 2 + 1):
        first, again = shapes[at : at + length], 0
        while shapes[at + length * (again + 1) : at + length * (again + 2)] == first:
            again += 1
        if length * again > max(1, best[0] * best[1]):
            best = length, again
    return best


def named(step: str, direction: Direction) -> str:
    """`debit`, or `the compensation of debit`."""
    return step if direction is Direction.ACTION else f"the compensation of {step}"
