"""What the laws say of a saga, in words of their own.

Written without the core's own predicates, so that a mistake in those is seen.
"""

from collections.abc import Iterable

from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.state import Decision, Saga, Step, StepStatus, Transition


def step_of(saga: Saga, name: str | None) -> Step:
    return next(step for step in saga.steps if step.name == name)


def moves_to(decision: Decision, status: StepStatus) -> Iterable[Transition]:
    return (line for line in decision.transitions if line.step and line.after == status)


def has_effect(step: Step) -> bool:
    """It has, or may have, an effect that could be undone and is not."""
    undoable = step.plan.compensation is not None
    unknown = step.status is StepStatus.FAILED and step.effect_unknown
    halted = step.status is StepStatus.COMPENSATION_FAILED
    return undoable and (step.status is StepStatus.COMPLETED or unknown or halted)


def blocks(saga: Saga, step: Step) -> bool:
    if step.status is StepStatus.COMPENSATION_FAILED:
        return saga.on_exhausted is OnExhausted.HALT
    return has_effect(step) or step.status is StepStatus.COMPENSATING


def has_begun_undoing(step: Step) -> bool:
    return step.compensation_attempts > 0


def is_past_pivot(saga: Saga) -> bool:
    for step in saga.steps:
        if step.plan.pivot:
            sealed = step.effect_unknown and step.plan.compensation is None
            return step.status is StepStatus.COMPLETED or sealed
    return False


def is_turning_back(saga: Saga) -> bool:
    called_off = saga.cancel_reason is not None or saga.first_failure is not None
    return called_off and not is_past_pivot(saga)


def needs_person(saga: Saga) -> Iterable[bool]:
    for step in saga.steps:
        yield step.status is StepStatus.COMPENSATION_FAILED
        yield step.status is StepStatus.FAILED and is_past_pivot(saga)
