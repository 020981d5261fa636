"""What happened in one run of a drill, in order, as values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from messaging.contract import Direction


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
    """The shortest story: what concerns this step, what the drill did, and how it ended."""
    for event in events:
        if event.kind in {Kind.FAULT, Kind.SAGA} or event.step == step:
            yield event


def named(step: str, direction: Direction) -> str:
    """`debit`, or `the compensation of debit`."""
    return step if direction is Direction.ACTION else f"the compensation of {step}"
