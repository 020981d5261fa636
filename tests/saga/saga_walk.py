"""Every state that a saga of a given plan can reach, whatever happens to it in any order.

Moments are all alike: a clock may reach any of them first, as with timeouts of any length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from saga_stories import MINUTE, NOON, pause

from orchestrator.saga import decide as core
from orchestrator.saga.plan import OnExhausted, PlannedStep
from orchestrator.saga.start import begin, requested
from orchestrator.saga.state import (
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Event,
    Failure,
    Outbound,
    OutboundKind,
    Published,
    ResolveRequested,
    RetryRequested,
    Saga,
    StartRepeated,
    Step,
    StepCompleted,
    StepFailed,
    StepStatus,
    TimeReached,
)

LATER = NOON + 60 * MINUTE
VERSION = 100
BACK = {StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}

Key = tuple[Any, ...]
Arrow = tuple[Saga, Event, Decision]


def walk(plan: Sequence[PlannedStep], on_exhausted: OnExhausted) -> Iterator[Arrow]:
    """Each state with each event and what follows; every state is visited once."""
    first = _beginning(plan, on_exhausted)
    seen = {key_of(first)}
    ahead = [first]
    while ahead:
        saga = ahead.pop()
        for before, event in _happenings(saga):
            decision = core.decide(before, event, now=NOON, delay=pause)
            yield before, event, decision
            if decision.saga is before:
                continue
            after = alike(decision.saga)
            key = key_of(after)
            if key not in seen:
                seen.add(key)
                ahead.append(after)


def _beginning(plan: Sequence[PlannedStep], on_exhausted: OnExhausted) -> Saga:
    asked = requested(saga_id="s", saga_type="Order", data={}, input_digest="d", now=NOON)
    decision = begin(
        asked, plan, on_exhausted=on_exhausted, now=NOON, delay=pause, cause="m", actor=None
    )
    return alike(decision.saga)


# --- what may happen -------------------------------------------------------------------


def _happenings(saga: Saga) -> Iterator[tuple[Saga, Event]]:
    for step in saga.steps:
        for event in _replies(step):
            yield saga, event
        yield saga, RetryRequested(step=step.name, reason="r", actor="a")
        yield saga, ResolveRequested(step=step.name, reason="r", actor="a")
    yield saga, CancelRequested(reason="r", actor="a")
    yield saga, CancelRequested(reason="r", actor="a", cause="c")
    yield saga, StartRepeated(cause="n")
    yield from _published(saga)
    yield from _moments(saga)


def _replies(step: Step) -> Iterator[Event]:
    origin: dict[str, Any] = {"step": step.name, "cause": "n"}
    yield StepCompleted(**origin, result={})
    for retryable in (False, True):
        yield StepFailed(**origin, error="no", retryable=retryable)
        yield StepFailed(**origin, error="no", retryable=retryable, effect_unknown=True)
        yield CompensationFailed(**origin, error="no", retryable=retryable)
    yield CompensationCompleted(**origin)
    if step.attempts > 1:
        yield StepCompleted(**origin, result={}, attempt=1)
        yield StepFailed(**origin, error="old", attempt=1)
    if step.compensation_attempts > 1:
        yield CompensationFailed(**origin, error="old", attempt=1)


def _published(saga: Saga) -> Iterator[tuple[Saga, Event]]:
    commands = {owed.step for owed in saga.outbound if _is_command(owed)}
    if saga.outbound:
        yield saga, Published(version=saga.version)
    for name in sorted(name for name in commands if name):
        yield saga, Published(version=saga.version, unroutable=frozenset({name}))
        yield saga, Published(version=None, unroutable=frozenset({name}))


def _moments(saga: Saga) -> Iterator[tuple[Saga, Event]]:
    """The clock reaches one step's moment, or all of them at once."""
    waiting = [step.name for step in saga.steps if step.deadline or step.retry_at]
    for names in {*((name,) for name in waiting), tuple(waiting)}:
        steps = tuple(_due(step) if step.name in names else step for step in saga.steps)
        yield replace(saga, steps=steps), TimeReached()


def _due(step: Step) -> Step:
    return replace(step, deadline=step.deadline and NOON, retry_at=step.retry_at and NOON)


# --- what makes two states the same ----------------------------------------------------


def alike(saga: Saga) -> Saga:
    """The saga without what never matters: how long, how often beyond its budget, which id."""
    failure = saga.first_failure
    return replace(
        saga,
        version=VERSION,
        steps=tuple(_alike_step(step) for step in saga.steps),
        cancel_reason=saga.cancel_reason and "cancelled",
        first_failure=failure and Failure(step=failure.step, error="no", at=NOON),
        outbound=tuple(dict.fromkeys(_alike_outbound(owed) for owed in saga.outbound)),
        resend_at=_alike_moment(saga.resend_at),
        updated_at=NOON,
        ended_at=saga.ended_at and NOON,
    )


def _alike_step(step: Step) -> Step:
    going_back = step.status in BACK
    attempts, forgiven = _alike_attempts(step.attempts, 0 if going_back else step.forgiven)
    back, forgiven_back = _alike_attempts(
        step.compensation_attempts, step.forgiven if going_back else 0
    )
    return replace(
        step,
        attempts=attempts,
        compensation_attempts=back,
        forgiven=forgiven_back if going_back else forgiven,
        deadline=_alike_moment(step.deadline),
        retry_at=_alike_moment(step.retry_at),
        started_at=None,
        completed_at=None,
        compensation_started_at=None,
        compensated_at=None,
    )


def _alike_attempts(attempts: int, forgiven: int) -> tuple[int, int]:
    """Those that are forgiven are one, if any."""
    kept = min(forgiven, 1)
    return attempts - forgiven + kept, kept


def _alike_outbound(owed: Outbound) -> Outbound:
    return replace(owed, body="", cause=owed.cause and "m", attempt=None, deadline=None, error=None)


def _alike_moment(moment: datetime | None) -> datetime | None:
    return moment and LATER


def key_of(saga: Saga) -> Key:
    """What decides on the future of the saga, and nothing else."""
    return (
        saga.state,
        saga.cancel_reason is None,
        saga.first_failure is None,
        tuple(_key_of_step(step) for step in saga.steps),
    )


def _key_of_step(step: Step) -> Key:
    match step.status:
        case StepStatus.PENDING | StepStatus.COMPLETED | StepStatus.COMPENSATION_FAILED:
            return (step.status,)
        case StepStatus.COMPENSATED:
            return (step.status, step.result is None)
        case StepStatus.FAILED:
            return (step.status, step.effect_unknown, step.result is None)
        case StepStatus.EXECUTING:
            return (step.effect_unknown, *_key_of_attempt(step, step.attempts))
        case StepStatus.COMPENSATING:
            return (step.result is None, *_key_of_attempt(step, step.compensation_attempts))


def _key_of_attempt(step: Step, attempts: int) -> Key:
    counted = attempts - step.forgiven
    return (step.status, counted, attempts > 1, step.deadline is None, step.unroutable)


def _is_command(owed: Outbound) -> bool:
    return owed.kind is OutboundKind.COMMAND
