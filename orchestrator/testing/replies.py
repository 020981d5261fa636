"""What a participant answers to a command, as events of the core."""

from collections.abc import Mapping
from typing import Any

from orchestrator.saga.state import (
    CompensationCompleted,
    CompensationFailed,
    Direction,
    Outbound,
    Reply,
    StepCompleted,
    StepFailed,
)


def completion_of(command: Outbound, result: Mapping[str, Any]) -> Reply:
    """Done. A compensation has no result that anybody would read."""
    step, attempt = command.step or "", command.attempt
    if command.direction is Direction.COMPENSATION:
        return CompensationCompleted(step=step, attempt=attempt)
    return StepCompleted(step=step, attempt=attempt, result=dict(result))


def failure_of(
    command: Outbound, error: str, retryable: bool | None, *, unknown: bool = False
) -> Reply:
    """Not done. What is not said is what the wire's defaults say."""
    step, attempt = command.step or "", command.attempt
    if command.direction is Direction.COMPENSATION:
        worth_it = retryable is not False
        return CompensationFailed(step=step, attempt=attempt, error=error, retryable=worth_it)
    return StepFailed(
        step=step,
        attempt=attempt,
        error=error,
        retryable=bool(retryable),
        effect_unknown=unknown,
    )
