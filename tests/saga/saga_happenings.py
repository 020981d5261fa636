"""What may happen to a saga in a given state."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from orchestrator.saga.state import (
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    Event,
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
)

DATA: Final = {"order_id": "42"}
RESULT: Final = {"hold": "h-1"}
RESERVED: Final = {"saga_id": "forged"}
CAUSE: Final = "m"  # of whatever is owed because of a message


def answers(step: Step) -> Sequence[Event]:
    return _answers(step.name, step.attempts, step.compensation_attempts)


@cache
def _answers(name: str, attempts: int, back: int) -> Sequence[Event]:
    """All four replies with all that they may say, to the current attempt and to an older one."""
    origin: dict[str, Any] = {"step": name, "cause": "n"}
    found: list[Event] = [
        StepCompleted(**origin, result={**RESULT, **RESERVED}),
        CompensationCompleted(**origin),
    ]
    for retryable in (False, True):
        failed: dict[str, Any] = {**origin, "error": "no", "retryable": retryable}
        found += [
            StepFailed(**failed),
            StepFailed(**failed, effect_unknown=True),
            CompensationFailed(**failed),
        ]
    if attempts > 1:
        found.append(StepCompleted(**origin, result=RESULT, attempt=attempts - 1))
        found.append(StepFailed(**origin, error="old", attempt=attempts - 1))
    if back > 1:
        found.append(CompensationCompleted(**origin, attempt=back - 1))
        found.append(CompensationFailed(**origin, error="old", attempt=back - 1))
    return found


def people(step: Step) -> Sequence[Event]:
    return _people(step.name)


@cache
def _people(name: str) -> Sequence[Event]:
    by: dict[str, Any] = {"step": name, "reason": "r", "actor": "a"}
    return [RetryRequested(**by), ResolveRequested(**by), ResolveRequested(**by, result=RESULT)]


@cache
def at_any_time() -> Sequence[Event]:
    """What is not about a step, and what is about a step that there is not."""
    by: dict[str, Any] = {"reason": "r", "actor": "a"}
    return [
        CancelRequested(**by),
        CancelRequested(**by, cause="c"),
        StartRepeated(cause="n"),
        StepCompleted(step="?", cause="n"),
        RetryRequested(step="?", **by),
        ResolveRequested(step="?", **by),
        Published(version=None),
        Published(version=-1),
    ]


def redeliveries(saga: Saga) -> Sequence[Event]:
    """A message comes again whose consequence may not have left."""
    is_owed = any(owed.cause == CAUSE for owed in saga.outbound)
    return _again(saga.steps[-1].name if saga.steps else "?") if is_owed else ()


@cache
def _again(name: str) -> Sequence[Event]:
    again: dict[str, Any] = {"cause": CAUSE, "redelivered": True}
    return [
        StartRepeated(cause=CAUSE),
        StartRepeated(**again),
        CancelRequested(reason="r", actor="a", **again),
        StepCompleted(step=name, **again),
        CompensationFailed(step=name, error="no", **again),
    ]


def settlements(saga: Saga) -> Iterator[Event]:
    """What was sent is confirmed, or has come back because no queue is bound for it."""
    if saga.outbound:
        yield Published(version=saga.version)
    for name in sorted({owed.step for owed in saga.outbound if is_command(owed) and owed.step}):
        yield Published(version=saga.version, unroutable=frozenset({name}))
        yield Published(version=None, unroutable=frozenset({name}))


def is_command(owed: Outbound) -> bool:
    return owed.kind is OutboundKind.COMMAND
