"""What the laws say of a saga, in words of their own.

Written without the core's own predicates, so that a mistake in those is seen.
"""

from collections.abc import Iterator

from saga_stories import FINAL
from saga_walk import Arrow

from orchestrator.saga.plan import OnExhausted, RetryPolicy
from orchestrator.saga.state import (
    Outbound,
    OutboundKind,
    Saga,
    SagaState,
    Step,
    StepStatus,
    Transition,
)

UNDER_WAY = {StepStatus.EXECUTING, StepStatus.COMPENSATING}
FORWARD = {SagaState.STARTED, SagaState.PENDING}


def step_of(saga: Saga, name: str | None) -> Step:
    return next(step for step in saga.steps if step.name == name)


def moves_to(arrow: Arrow, status: StepStatus) -> Iterator[Transition]:
    return (
        line
        for line in arrow.decision.transitions
        if line.step is not None and line.before != line.after == status
    )


def has_moved(arrow: Arrow, name: str, before: StepStatus, after: StepStatus) -> bool:
    """There is a line that says so; other ones may come after it."""
    return any(
        (line.step, line.before, line.after) == (name, before, after)
        for line in arrow.decision.transitions
    )


def turns_to(arrow: Arrow, state: SagaState) -> bool:
    return any(
        line.step is None and line.before != line.after == state
        for line in arrow.decision.transitions
    )


def commands(owed: tuple[Outbound, ...]) -> Iterator[Outbound]:
    return (each for each in owed if each.kind is OutboundKind.COMMAND)


def letters(arrow: Arrow) -> set[tuple[str | None, str | None]]:
    """Reason and step of the dead letters that are newly owed."""
    return {
        (owed.reason, owed.step)
        for owed in arrow.after.outbound
        if owed.kind is OutboundKind.DEAD_LETTER and owed not in arrow.before.outbound
    }


def may_have_effect(step: Step) -> bool:
    """It has, or may have, an effect that could be undone and that nobody undoes yet."""
    unknown = step.status is StepStatus.FAILED and step.effect_unknown
    return step.plan.compensation is not None and (step.status is StepStatus.COMPLETED or unknown)


def blocks(saga: Saga, step: Step) -> bool:
    """What is earlier must not be undone yet."""
    if step.status is StepStatus.COMPENSATION_FAILED:
        return saga.on_exhausted is OnExhausted.HALT
    return may_have_effect(step) or step.status is StepStatus.COMPENSATING


def is_past_pivot(saga: Saga) -> bool:
    return any(step.plan.pivot and is_sealed(step) for step in saga.steps)


def is_sealed(pivot: Step, *, also_unknown: bool = False) -> bool:
    unknown = pivot.effect_unknown or also_unknown
    return pivot.status is StepStatus.COMPLETED or (unknown and pivot.plan.compensation is None)


def is_turning_back(saga: Saga) -> bool:
    called_off = saga.cancel_reason is not None or saga.first_failure is not None
    return called_off and not is_past_pivot(saga)


def is_forward_exhausted(saga: Saga, step: Step) -> bool:
    return step.status is StepStatus.FAILED and saga.state in FORWARD and is_past_pivot(saga)


def waits_for_person(saga: Saga) -> bool:
    return any(
        step.status is StepStatus.COMPENSATION_FAILED or is_forward_exhausted(saga, step)
        for step in saga.steps
    )


def has_ended(saga: Saga) -> bool:
    return saga.state in FINAL


def tried(step: Step) -> tuple[int, RetryPolicy]:
    """How often in its present direction, as far as that counts, and its budget for it."""
    if step.status is StepStatus.COMPENSATING:
        return step.compensation_attempts - step.forgiven, step.plan.compensation_retry
    return step.attempts - step.forgiven, step.plan.retry


def has_attempts_left(step: Step) -> bool:
    attempts, policy = tried(step)
    return attempts < policy.max_attempts


def is_quiet(arrow: Arrow) -> bool:
    """Nothing has changed and nothing is sent."""
    decision = arrow.decision
    changed = decision.saga != arrow.before or decision.must_save
    return not (changed or decision.transitions or decision.send)


def is_note_only(arrow: Arrow) -> bool:
    """One more line of the history, on a step that stays in its status; nothing is sent."""
    lines, before, after = arrow.decision.transitions, arrow.before, arrow.after
    same = before.state is after.state and before.outbound == after.outbound
    return same and len(lines) == 1 and lines[0].before == lines[0].after and bool(lines[0].note)
