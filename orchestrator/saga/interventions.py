"""What people may ask of a saga: cancel it, retry a step, say that it is done."""

from datetime import timedelta
from typing import Final

from orchestrator.saga.draft import Draft
from orchestrator.saga.flow import is_forward_exhausted, is_past_pivot, proceed
from orchestrator.saga.moves import (
    announce,
    complete,
    finish_compensation,
    send_compensation,
    send_next_attempt,
)
from orchestrator.saga.requests import ReopenRequested
from orchestrator.saga.state import (
    CancelRequested,
    Decision,
    ResolveRequested,
    RetryRequested,
    Saga,
    SagaState,
    Step,
    StepStatus,
    Verdict,
)

BY_HAND: Final = "resolved by hand: "
"""How the note of a step's line in the history begins that a person has resolved."""


def cancel(draft: Draft, event: CancelRequested) -> Decision:
    """Nothing new is sent; what is outstanding is awaited; then all is compensated."""
    saga = draft.saga
    if saga.state.is_final:
        return _refused(saga, f"saga {saga.saga_id} has already {saga.state}")
    if saga.state is SagaState.COMPENSATING or saga.cancel_reason is not None:
        return Decision(saga=saga, verdict=Verdict.DUPLICATE)
    if is_past_pivot(saga):
        return _refused(saga, f"saga {saga.saga_id} is past its pivot and can only go forward")
    draft.change(cancel_reason=f"cancelled by {event.actor}: {event.reason}")
    draft.note(None, "cancel requested", error=event.reason)
    proceed(draft)
    if event.cause is None:
        draft.guard(timedelta(0))
    return draft.decision()


def retry(draft: Draft, event: RetryRequested) -> Decision:
    step = next((step for step in draft.saga.steps if step.name == event.step), None)
    if step is None:
        return _refused(draft.saga, _no_such_step(draft.saga, event.step))
    if not _can_retry(draft.saga, step):
        return _refused(draft.saga, f"step {step.name} is {step.status} and owes no retry")
    compensating = step.status in {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED}
    attempts = step.compensation_attempts if compensating else step.attempts
    fresh = draft.change_step(step, forgiven=attempts)
    send_next_attempt(draft, fresh, f"retried by hand: {event.reason}")
    draft.guard(timedelta(0))
    return draft.decision()


def _can_retry(saga: Saga, step: Step) -> bool:
    """Its retries are exhausted, or it waits for the next one."""
    if step.status is StepStatus.COMPENSATION_FAILED or step.retry_at is not None:
        return True
    return is_forward_exhausted(saga, step)


def resolve(draft: Draft, event: ResolveRequested) -> Decision:
    saga = draft.saga
    step = next((step for step in saga.steps if step.name == event.step), None)
    if step is None:
        return _refused(saga, _no_such_step(saga, event.step))
    note = f"{BY_HAND}{event.reason}"
    if step.status is StepStatus.COMPENSATION_FAILED:
        finish_compensation(draft, step, note)
    elif is_forward_exhausted(saga, step):
        too_large = complete(draft, step, event.result or {}, note)
        if too_large:
            return _refused(saga, too_large)
    else:
        return _refused(saga, f"step {step.name} is {step.status}; {_not_yet(step)}")
    announce(draft, "SagaInterventionResolved", step, by=event.actor, reason=event.reason)
    proceed(draft)
    draft.guard(timedelta(0))
    return draft.decision()


def _not_yet(step: Step) -> str:
    if step.status in {StepStatus.EXECUTING, StepStatus.COMPENSATING}:
        return "it is tried by itself now, and can be resolved when that has failed"
    return "there is nothing to resolve"


def reopen(draft: Draft, event: ReopenRequested) -> Decision:
    """Compensate a step whose effect stands. A saga that has failed fails once more."""
    saga = draft.saga
    step = next((step for step in saga.steps if step.name == event.step), None)
    if step is None:
        return _refused(saga, _no_such_step(saga, event.step))
    has_turned_back = saga.state in {SagaState.FAILED, SagaState.COMPENSATING}
    is_waiting = step.status in {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED}
    if not has_turned_back or is_waiting or step.plan.compensation is None:
        return _refused(saga, f"saga {saga.saga_id} is {saga.state}; {step.name} cannot be undone")
    if saga.state is SagaState.FAILED:
        draft.turn(SagaState.COMPENSATING, f"opened again by hand: {event.reason}")
    fresh = draft.change_step(step, forgiven=step.compensation_attempts)
    send_compensation(draft, fresh, f"its effect stands: {event.reason}")
    draft.guard(timedelta(0))
    return draft.decision()


def _refused(saga: Saga, why: str) -> Decision:
    return Decision(saga=saga, verdict=Verdict.REFUSED, refusal=why)


def _no_such_step(saga: Saga, name: str) -> str:
    known = ", ".join(step.name for step in saga.steps) or "none yet"
    return f"saga {saga.saga_id} has no step {name!r}; its steps are: {known}"
