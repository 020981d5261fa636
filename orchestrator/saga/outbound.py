"""The messages a saga sends, as values with their exact bodies."""

from collections.abc import Mapping
from datetime import datetime
from json.encoder import encode_basestring as quoted
from typing import Any

from orchestrator.saga.state import Direction, Outbound, OutboundKind, Saga, Step
from orchestrator.saga.written import encode, json_of, together


def command_of(
    saga: Saga, step: Step, direction: Direction, *, deadline: datetime, cause: str | None
) -> Outbound:
    """The command of the step's current attempt."""
    return Outbound(
        kind=OutboundKind.COMMAND,
        destination=_destination(step, direction),
        body=_command_body(saga, step, direction),
        cause=cause,
        step=step.name,
        direction=direction,
        attempt=_attempt(step, direction),
        deadline=deadline,
    )


def dead_letter_of(
    saga: Saga, step: Step, direction: Direction, *, key: str, reason: str, cause: str | None
) -> Outbound:
    """The command that has exhausted its retries, for the dead letters."""
    return Outbound(
        kind=OutboundKind.DEAD_LETTER,
        destination=key,
        body=_command_body(saga, step, direction),
        cause=cause,
        step=step.name,
        direction=direction,
        attempt=_attempt(step, direction),
        reason=reason,
        error=step.error,
    )


def late_success_of(
    saga: Saga, step: Step, result: Mapping[str, Any], cause: str | None
) -> Outbound:
    """Tells a person that an effect may stand alone: its saga had already ended."""
    return Outbound(
        kind=OutboundKind.DEAD_LETTER,
        destination="late_success",
        body=encode({"saga_id": saga.saga_id, "step_name": step.name, "result": result}),
        cause=cause,
        step=step.name,
        direction=Direction.ACTION,
        attempt=step.attempts,
        reason="late_success",
        error=f"{step.plan.action} succeeded when its saga was already {saga.state}",
    )


def in_doubt_of(saga: Saga, pivot: Step, cause: str | None) -> Outbound:
    """Tells a person that the pivot may have been passed in a past that is lost."""
    return Outbound(
        kind=OutboundKind.DEAD_LETTER,
        destination="late_success",
        body=encode({"saga_id": saga.saga_id, "step_name": pivot.name}),
        cause=cause,
        direction=Direction.ACTION,  # of no step: it is owed whatever the pivot does next
        reason="in_doubt",
        error=(
            f"the database has lost commits, and nobody knows whether {pivot.plan.action}, a point "
            f"of no return, has taken effect; its saga is {saga.state}"
        ),
    )


def event_of(
    name: str, body: Mapping[str, Any], *, step: str | None, cause: str | None
) -> Outbound:
    return Outbound(
        kind=OutboundKind.EVENT, destination=name, body=encode(body), cause=cause, step=step
    )


def completed_event(saga: Saga, cause: str | None) -> Outbound:
    name = f"{saga.saga_type}Completed"
    body = together(encode({"saga_id": saga.saga_id}), json_of(saga.data))
    return Outbound(kind=OutboundKind.EVENT, destination=name, body=body, cause=cause)


def failed_event(saga: Saga, cause: str | None) -> Outbound:
    failure = saga.first_failure
    body = {
        **saga.data,
        "saga_id": saga.saga_id,
        "error": failure.error if failure else None,
        "failed_step": failure.step if failure else None,
    }
    return event_of(f"{saga.saga_type}Failed", body, step=None, cause=cause)


def _destination(step: Step, direction: Direction) -> str:
    if direction is Direction.ACTION:
        return step.plan.action
    return step.plan.compensation or step.plan.action


def _attempt(step: Step, direction: Direction) -> int:
    return step.attempts if direction is Direction.ACTION else step.compensation_attempts


def _command_body(saga: Saga, step: Step, direction: Direction) -> str:
    body = f'{{"saga_id":{quoted(saga.saga_id)},"step_name":{quoted(step.name)}'
    if direction is Direction.COMPENSATION:
        result = "null" if step.result is None else json_of(step.result)
        body = f'{body},"original_result":{result}'
    return together(f"{body}}}", _payload(saga, step))


def _payload(saga: Saga, step: Step) -> str:
    if step.plan.payload is None:
        return json_of(saga.data)
    return encode({key: saga.data[key] for key in step.plan.payload if key in saga.data})
