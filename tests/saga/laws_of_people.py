"""What must be true of what people ask for: cancel, retry, resolve."""

from saga_walk import Arrow
from saga_words import (
    has_ended,
    has_moved,
    is_forward_exhausted,
    is_past_pivot,
    is_quiet,
    step_of,
    tried,
)

from orchestrator.saga.state import (
    CancelRequested,
    ResolveRequested,
    RetryRequested,
    Saga,
    SagaState,
    Step,
    StepStatus,
    Verdict,
)


def a_cancel_is_answered(arrow: Arrow) -> bool:
    """Refused at the end and after the pivot; known on the way back; else the saga turns back."""
    event, before = arrow.event, arrow.before
    if not isinstance(event, CancelRequested) or event.redelivered:
        return True
    verdict = arrow.decision.verdict
    if has_ended(before):
        return verdict is Verdict.REFUSED
    if before.state is SagaState.COMPENSATING or before.cancel_reason is not None:
        return verdict is Verdict.DUPLICATE
    if is_past_pivot(before):
        return verdict is Verdict.REFUSED
    return verdict is Verdict.ADVANCED and arrow.after.cancel_reason is not None


def a_retry_by_hand_is_answered(arrow: Arrow) -> bool:
    """What is exhausted, or waits for its next attempt, is sent with a fresh budget."""
    event = arrow.event
    if not isinstance(event, RetryRequested):
        return True
    step = _named(arrow.before, event.step)
    if step is None or not _can_be_retried(arrow.before, step):
        return arrow.decision.verdict is Verdict.REFUSED and is_quiet(arrow)
    after = step_of(arrow.after, step.name)
    back = step.status in {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED}
    status = StepStatus.COMPENSATING if back else StepStatus.EXECUTING
    fresh = after.status is status and tried(after)[0] == 1
    return fresh and after.deadline is not None and _is_signed(arrow)


def a_resolve_is_answered(arrow: Arrow) -> bool:
    """What is exhausted counts as done, and the saga goes on."""
    event = arrow.event
    if not isinstance(event, ResolveRequested):
        return True
    step = _named(arrow.before, event.step)
    told = any(each.destination == "SagaInterventionResolved" for each in arrow.after.outbound)
    if step is not None and step.status is StepStatus.COMPENSATION_FAILED:
        done = has_moved(arrow, step.name, step.status, StepStatus.COMPENSATED)
        return done and told and _is_signed(arrow)
    if step is not None and is_forward_exhausted(arrow.before, step):
        done = has_moved(arrow, step.name, step.status, StepStatus.COMPLETED)
        return done and told and _is_signed(arrow)
    return arrow.decision.verdict is Verdict.REFUSED and is_quiet(arrow)


def a_refusal_says_why(arrow: Arrow) -> bool:
    refused = arrow.decision.verdict is Verdict.REFUSED
    return refused == bool(arrow.decision.refusal)


def _named(saga: Saga, name: str) -> Step | None:
    return next((step for step in saga.steps if step.name == name), None)


def _can_be_retried(saga: Saga, step: Step) -> bool:
    halted = step.status is StepStatus.COMPENSATION_FAILED
    return halted or step.retry_at is not None or is_forward_exhausted(saga, step)


def _is_signed(arrow: Arrow) -> bool:
    """Every line says who, and the first one why."""
    lines = arrow.decision.transitions
    return all(line.actor == "a" for line in lines) and "by hand: r" in (lines[0].note or "")


PEOPLE_LAWS = (
    a_cancel_is_answered,
    a_retry_by_hand_is_answered,
    a_resolve_is_answered,
    a_refusal_says_why,
)
