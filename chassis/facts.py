"""What happened, as frozen values. Programs report them once; metrics and logs listen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

from messaging.values import value

IN_DOUBT: Final = "in doubt"  # notes of a saga's moves, as the core writes them
LOCK_FAILURES: Final = {
    "refused: locked": "refused",
    "waited too long for its locks": "timed_out",
}


class StepMoved(NamedTuple):  # reported at every move: a tuple costs a quarter of a dataclass
    """A transition of a step, or (with `step` None) of the saga's own state."""

    step: str | None
    before: str
    after: str
    attempt: int | None = None
    direction: str | None = None
    duration: timedelta | None = None  # of the finished action or compensation, from stored times
    note: str | None = None
    error: str | None = None
    cause: str | None = None
    actor: str | None = None


@value
class SagaAdvanced:
    """A saga moved, and the move is committed."""

    saga_id: str
    saga_type: str
    state: str
    moves: Sequence[StepMoved]
    is_new: bool = False
    duration: timedelta | None = None  # set when it has just ended
    compensation_retries: Sequence[str] = ()  # names of steps whose compensation is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class LateReply:
    """A reply that changed nothing or came too late; kind as in saga_late_replies_total."""

    saga_id: str
    saga_type: str
    step: str | None
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRejected:
    """A message broke the contract and was sent to the dead letters."""

    queue: str
    reason: str
    detail: str
    message_id: str | None = None
    saga_id: str | None = None  # as the message says, if it does
    traceback: str | None = None  # of a handler that raised what nobody foresaw


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettered:
    """The orchestrator, or the dlq worker's intake, has one dead letter more."""

    reason: str
    saga_id: str | None = None
    saga_type: str | None = None
    step: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCommitted:
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPublished:
    size: int
    took: timedelta
    unroutable: int = 0
    unknown: int = 0


@value
class CommandHandled:
    """A participant answered a command."""

    participant: str
    command: str
    direction: str
    outcome: str  # completed, failed, replayed, refused, later
    saga_id: str
    step: str
    attempt: int
    took: timedelta
    error: str | None = None
    traceback: str | None = None  # of a handler that raised what nobody foresaw


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHandled:
    """A choreographed service has dealt with an event, and all it emitted is published."""

    service: str
    event: str
    outcome: str  # handled, repeated, refused, failed
    saga_id: str
    saga_type: str
    emitted: Sequence[str]
    took: timedelta
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecorded:
    """The recorder has written down an event that it did not know."""

    saga_id: str
    saga_type: str
    event: str
    service: str | None
    ends: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """A round of deleting what ended long ago is over."""

    deleted: Mapping[str, int]  # by kind: completed, failed, dead_letter, alert
    lines: int  # of history, or the like, with them
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionChanged:
    """A connection to the broker or the database came up or went down."""

    peer: str  # "broker" or "database"
    up: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeMeasured:
    """Fresh values of a gauge by its label values, replacing all earlier ones."""

    name: str
    values: Mapping[tuple[str, ...], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """Anything else worth a log line, with its level."""

    level: str  # debug, info, warning, error
    message: str
    details: Mapping[str, object] = field(default_factory=dict)


Fact = (
    SagaAdvanced
    | LateReply
    | MessageRejected
    | DeadLettered
    | BatchCommitted
    | BatchPublished
    | CommandHandled
    | EventHandled
    | EventRecorded
    | Purged
    | ConnectionChanged
    | GaugeMeasured
    | Noticed
)
Observe = Callable[[Fact], None]
