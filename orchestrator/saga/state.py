"""A saga as a value, what can happen to it, and what follows from that."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, auto
from typing import Any, NamedTuple

from orchestrator.saga.changed import value
from orchestrator.saga.plan import OnExhausted, PlannedStep
from orchestrator.saga.requests import LossJudged, ReopenRequested


class SagaState(StrEnum):
    STARTED = "started"
    PENDING = "pending"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self is SagaState.COMPLETED or self is SagaState.FAILED


class StepStatus(StrEnum):
    PENDING = "pending"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class Direction(StrEnum):
    ACTION = "action"
    COMPENSATION = "compensation"


@value
class Step:
    """One step of a running saga.

    A step is *outstanding* while it is executing or compensating and `retry_at` is None:
    then a command is under way, and `deadline` says how long its reply is awaited. With
    `retry_at` set, the last attempt has failed and the next one waits for that moment.
    """

    plan: PlannedStep
    status: StepStatus = StepStatus.PENDING
    attempts: int = 0  # of the action
    compensation_attempts: int = 0
    forgiven: int = 0  # attempts before an operator's retry: they no longer count
    effect_unknown: bool = False  # a failed step that may have had its effect
    result: Mapping[str, Any] | None = None
    error: str | None = None  # the last one, in either direction
    deadline: datetime | None = None
    retry_at: datetime | None = None
    unroutable: bool = False  # the outstanding command came back: no queue is bound for it
    started_at: datetime | None = None
    completed_at: datetime | None = None  # when its action completed, and only then
    compensation_started_at: datetime | None = None
    compensated_at: datetime | None = None

    @property
    def name(self) -> str:
        return self.plan.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The first thing that went wrong, kept for good."""

    step: str | None  # None: the saga was cancelled, or could not be planned
    error: str
    at: datetime


class OutboundKind(StrEnum):
    COMMAND = "command"
    EVENT = "event"
    DEAD_LETTER = "dead_letter"


@value
class Outbound:
    """A message that the saga owes, with its exact body, until its step is answered."""

    kind: OutboundKind
    destination: str  # routing key and type: a command, an event's name, or a dead letter's key
    body: str  # JSON
    cause: str | None  # the message that brought this about; None for clock and operator
    step: str | None = None
    direction: Direction | None = None  # commands and dead letters of commands
    attempt: int | None = None
    deadline: datetime | None = None
    reason: str | None = None  # dead letters: one word
    error: str | None = None  # dead letters


@value
class Saga:
    """One running instance. `version` is the number of transitions so far.

    A saga that was asked for through the database has no steps and version 0 until a worker
    that knows its definition plans it.
    """

    saga_id: str
    saga_type: str
    state: SagaState = SagaState.STARTED
    version: int = 0
    input_digest: str  # of the data it was started with: makes the start idempotent
    data: Mapping[str, Any]
    steps: tuple[Step, ...] = ()
    on_exhausted: OnExhausted = OnExhausted.HALT
    cancel_reason: str | None = None  # asked to cancel, and not overtaken by the pivot
    first_failure: Failure | None = None
    outbound: tuple[Outbound, ...] = ()
    resend_at: datetime | None = None  # set while nobody but the clock guards the outbound
    traceparent: str | None = None
    epochs: tuple[str, ...] = ()  # of the database, in which it is known to have lived; now last
    in_doubt: bool = False  # its row was written in another one, and it has not ended
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None

    @property
    def epoch(self) -> str | None:
        """The database's epoch now: commands carry it."""
        return self.epochs[-1] if self.epochs else None

    @property
    def wake_at(self) -> datetime | None:
        """When the clock has to look at it again, if ever."""
        known = [step.deadline for step in self.steps if step.deadline]
        known += [step.retry_at for step in self.steps if step.retry_at]
        if self.resend_at:
            known.append(self.resend_at)
        return min(known, default=None)


# --- what can happen -------------------------------------------------------------------


@value
class _FromMessage:
    step: str
    attempt: int | None = None  # None: the answer to the current attempt
    cause: str | None = None  # identity of the message
    actor: str | None = None  # who sent it
    redelivered: bool = False
    epoch: str | None = None  # of the database, when it was done; None: not said


@value
class StepCompleted(_FromMessage):
    result: Mapping[str, Any] = field(default_factory=dict)


@value
class StepFailed(_FromMessage):
    error: str
    retryable: bool = False
    effect_unknown: bool = False


@value
class CompensationCompleted(_FromMessage):
    pass


@value
class CompensationFailed(_FromMessage):
    error: str
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRepeated:
    """The start message came again, with the same type and data."""

    cause: str | None = None
    redelivered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeReached:
    """The saga's `wake_at` has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    reason: str
    actor: str
    cause: str | None = None
    redelivered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested:
    """An operator wants the step's command sent once more, with a fresh retry budget."""

    step: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveRequested:
    """An operator says it is done: the compensation, or (with `result`) the forward step."""

    step: str
    reason: str
    actor: str
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the clock had sent of saga version `version` is confirmed.

    The commands of the `unroutable` steps came back: no queue is bound for them.
    """

    version: int | None  # None: the clock had sent nothing
    unroutable: frozenset[str] = frozenset()
    epoch: str | None = None  # of the database, when it was saved; None: not said


Reply = StepCompleted | StepFailed | CompensationCompleted | CompensationFailed
Event = (
    Reply
    | StartRepeated
    | TimeReached
    | CancelRequested
    | RetryRequested
    | ResolveRequested
    | ReopenRequested
    | LossJudged
    | Published
)


# --- what follows ----------------------------------------------------------------------


class Transition(NamedTuple):  # made at every move: a tuple costs a quarter of a dataclass
    """One line of the saga's history. `step` None: the saga's own state changed."""

    version: int
    at: datetime
    step: str | None
    before: str  # a SagaState or StepStatus
    after: str
    cause: str | None = None  # a message's identity, "clock" or "operator"
    actor: str | None = None
    attempt: int | None = None
    note: str | None = None  # why, in a word or a sentence: "timed out", "late_success"
    error: str | None = None


class Verdict(StrEnum):
    """What became of an event, in one word."""

    ADVANCED = auto()  # the saga changed
    NOTED = auto()  # kept in the history, nothing else changed
    DUPLICATE = auto()  # known already; counted
    SEND_AGAIN = auto()  # known already, and its outbound may not have left
    OUT_OF_SEQUENCE = auto()  # fits nothing; noted, and the message is a dead letter
    REFUSED = auto()  # a person asked for what this state does not allow
    NOTHING = auto()  # nothing to do


@value
class Decision:
    """All that follows from one event."""

    saga: Saga
    verdict: Verdict
    transitions: tuple[Transition, ...] = ()
    send: tuple[Outbound, ...] = ()  # to publish now; also kept in `saga.outbound`
    late: str | None = None  # kind of late reply: duplicate, late_success, conflict, …
    refusal: str | None = None  # for REFUSED: why, in a sentence
    dropped_keys: frozenset[str] = frozenset()  # reserved keys found in a result
    must_save: bool = False  # the row changed, with or without a transition
