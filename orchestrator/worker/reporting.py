"""From decisions to facts."""

from datetime import timedelta
from typing import Final

from chassis.facts import DeadLettered, Fact, LateReply, SagaAdvanced, StepMoved
from orchestrator.saga.state import Decision, OutboundKind, Step, StepStatus, Transition

_BACK: Final = frozenset(
    {StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}
)


def facts_of(decision: Decision, *, is_new: bool = False) -> list[Fact]:
    """What to report of a decision once it is committed."""
    facts: list[Fact] = []
    saga = decision.saga
    if decision.transitions:
        facts.append(_advanced(decision, is_new))
        facts += [
            DeadLettered(
                reason=owed.reason or owed.destination,
                saga_id=saga.saga_id,
                saga_type=saga.saga_type,
                step=owed.step,
                error=owed.error,
            )
            for owed in decision.send
            if owed.kind is OutboundKind.DEAD_LETTER
        ]
    return facts


def late_reply(decision: Decision, step: str | None) -> LateReply | None:
    """The fact about a reply that changed nothing, or that came too late."""
    if decision.late is None:
        return None
    known = {each.name for each in decision.saga.steps}
    return LateReply(
        saga_id=decision.saga.saga_id,
        saga_type=decision.saga.saga_type,
        step=step if step in known else None,
        kind=decision.late,
    )


def _advanced(decision: Decision, is_new: bool) -> SagaAdvanced:
    saga = decision.saga
    steps = {step.plan.name: step for step in saga.steps}
    return SagaAdvanced(
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        state=saga.state,
        moves=[_move(steps.get(each.step or ""), each) for each in decision.transitions],
        is_new=is_new,
        duration=_lifetime(decision) if saga.ended_at else None,
        compensation_retries=[
            transition.step
            for transition in decision.transitions
            if transition.before == StepStatus.COMPENSATING == transition.after
            and transition.step is not None
            and (transition.note or "").startswith(("sent again", "retried"))
        ],
    )


def _lifetime(decision: Decision) -> timedelta | None:
    """From its start to its end, if this decision has ended it."""
    saga = decision.saga
    has_just_ended = any(
        each.step is None and each.before != each.after and each.after == saga.state
        for each in decision.transitions
    )
    return saga.ended_at - saga.created_at if saga.ended_at and has_just_ended else None


def _move(step: Step | None, line: Transition) -> StepMoved:
    return StepMoved(
        line.step if step is not None else None,
        line.before,
        line.after,
        line.attempt,
        _direction(line),
        _duration(step, line) if step is not None else None,
        line.note,
        line.error,
        line.cause,
        line.actor,
    )


def _direction(transition: Transition) -> str | None:
    if transition.step is None:
        return None
    return "compensation" if transition.after in _BACK else "action"


def _duration(step: Step, transition: Transition) -> timedelta | None:
    if transition.before == transition.after:
        return None
    match transition.after:
        case StepStatus.COMPLETED if step.completed_at and step.started_at:
            return step.completed_at - step.started_at
        case StepStatus.COMPENSATED if step.compensated_at and step.compensation_started_at:
            return step.compensated_at - step.compensation_started_at
        case _:
            return None
