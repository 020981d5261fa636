"""The commands that a saga in flight may still send, by its stored plan. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from messaging.contract import Direction
from orchestrator.saga.state import Saga, SagaState, Step, StepStatus

_TO_DO = frozenset({StepStatus.PENDING, StepStatus.EXECUTING})
_UNDONE = frozenset({StepStatus.COMPENSATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """A command that may come, and the steps that will have answered before it."""

    step: Step
    direction: Direction
    destination: str
    awaited: tuple[Step, ...]  # their results are not in the data yet


def remaining(saga: Saga) -> Iterator[Remaining]:
    """Rather too many: whatever is not settled may be sent again."""
    is_past_pivot = any(
        step.plan.pivot and step.status is StepStatus.COMPLETED for step in saga.steps
    )
    for step in saga.steps:
        awaited = tuple(
            each
            for each in saga.steps
            if each.plan.stage < step.plan.stage and each.status in _TO_DO
        )
        if _may_act(saga, step, is_past_pivot=is_past_pivot):
            yield Remaining(
                step=step,
                direction=Direction.ACTION,
                destination=step.plan.action,
                awaited=awaited,
            )
        if step.plan.compensation and not is_past_pivot and _may_be_undone(saga, step):
            yield Remaining(
                step=step,
                direction=Direction.COMPENSATION,
                destination=step.plan.compensation,
                awaited=awaited,
            )


def _may_act(saga: Saga, step: Step, *, is_past_pivot: bool) -> bool:
    """On the way back nothing new begins; past the pivot a failed step is tried again by hand."""
    if saga.state is SagaState.COMPENSATING:
        return step.status is StepStatus.EXECUTING
    return step.status in _TO_DO or (is_past_pivot and step.status is StepStatus.FAILED)


def _may_be_undone(saga: Saga, step: Step) -> bool:
    if saga.state is SagaState.COMPENSATING and step.status is StepStatus.PENDING:
        return False
    return step.status not in _UNDONE
