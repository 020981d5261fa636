"""Where the saga as a whole goes next: forward by stages, or back in strict reverse order."""

from orchestrator.saga.draft import Draft
from orchestrator.saga.moves import fail, send_action, send_compensation
from orchestrator.saga.outbound import completed_event, failed_event
from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.state import Saga, SagaState, Step, StepStatus


def proceed(draft: Draft) -> None:
    """Send what is due now that something has changed, and end the saga when all is done."""
    if _goes_forward(draft.saga):
        _drop_overtaken_cancel(draft)
        if is_turning_back(draft.saga):
            _turn_back(draft)
        else:
            _advance(draft)
    if draft.saga.state is SagaState.COMPENSATING:
        _undo_next(draft)


def is_turning_back(saga: Saga) -> bool:
    """It is cancelled, or a step has failed, and there is a way back: nothing new is sent.

    A late success of what had failed does not make it go forward again.
    """
    is_called_off = saga.cancel_reason is not None or saga.first_failure is not None
    return is_called_off and not is_past_pivot(saga)


def can_turn_back(saga: Saga) -> bool:
    """It is turning back, and nothing is outstanding any more."""
    return is_turning_back(saga) and not any(map(_is_outstanding, saga.steps))


def is_past_pivot(saga: Saga) -> bool:
    """Its pivot has completed, or may have and cannot be undone: there is no way back."""
    return any(_has_been_passed(step) for step in saga.steps if step.plan.pivot)


def is_forward_exhausted(saga: Saga, step: Step) -> bool:
    """A step past the pivot whose retries are exhausted: a person moves it on."""
    return step.status is StepStatus.FAILED and _goes_forward(saga) and is_past_pivot(saga)


def is_parked(saga: Saga, step: Step) -> bool:
    """Its retries are exhausted, in whichever direction it was going: it waits for a person."""
    return step.status is StepStatus.COMPENSATION_FAILED or is_forward_exhausted(saga, step)


def _goes_forward(saga: Saga) -> bool:
    return saga.state is SagaState.PENDING or saga.state is SagaState.STARTED


def _has_been_passed(pivot: Step) -> bool:
    may_have = pivot.effect_unknown and pivot.plan.compensation is None
    return pivot.status is StepStatus.COMPLETED or may_have


def _drop_overtaken_cancel(draft: Draft) -> None:
    if draft.saga.cancel_reason is not None and is_past_pivot(draft.saga):
        draft.change(cancel_reason=None)
        draft.note(None, "cancel overtaken by the pivot")


def _turn_back(draft: Draft) -> None:
    """Await what is outstanding, then begin to compensate."""
    for step in draft.saga.steps:
        if step.status is StepStatus.EXECUTING and not _is_outstanding(step):
            fail(draft, step, step.error or "", "not tried again")
    if not can_turn_back(draft.saga):
        return
    if draft.saga.cancel_reason is not None:
        draft.fail_first(None, draft.saga.cancel_reason)
    draft.turn(SagaState.COMPENSATING)


def _is_outstanding(step: Step) -> bool:
    return step.status is StepStatus.EXECUTING and step.retry_at is None


def _advance(draft: Draft) -> None:
    """Begin the next stage when the one before it is complete; complete the saga at the end."""
    unfinished = [step for step in draft.saga.steps if step.status is not StepStatus.COMPLETED]
    if not unfinished:
        if draft.saga.state is SagaState.STARTED:
            draft.turn(SagaState.PENDING)
        draft.turn(SagaState.COMPLETED)
        draft.owe(completed_event(draft.saga, draft.message))
        return
    stage = unfinished[0].plan.stage
    for step in unfinished:
        if step.plan.stage == stage and step.status is StepStatus.PENDING:
            send_action(draft, step)


def _undo_next(draft: Draft) -> None:
    """Compensate the last stage that is not undone yet; when there is none, the saga failed."""
    for stage in sorted({step.plan.stage for step in draft.saga.steps}, reverse=True):
        steps = [step for step in draft.saga.steps if step.plan.stage == stage]
        for step in steps:
            if _needs_undoing(step):
                send_compensation(draft, step)
        if any(_blocks_earlier(draft.saga, draft.step(step.name)) for step in steps):
            return
    if not any(step.status is StepStatus.COMPENSATION_FAILED for step in draft.saga.steps):
        draft.turn(SagaState.FAILED)
        draft.owe(failed_event(draft.saga, draft.message))


def _needs_undoing(step: Step) -> bool:
    """It had its effect, or may have had, and there is a way to undo it."""
    if step.plan.compensation is None:
        return False
    failed_unknown = step.status is StepStatus.FAILED and step.effect_unknown
    return step.status is StepStatus.COMPLETED or failed_unknown


def _blocks_earlier(saga: Saga, step: Step) -> bool:
    """Earlier stages wait for this step."""
    halted = saga.on_exhausted is OnExhausted.HALT
    if step.status is StepStatus.COMPENSATION_FAILED:
        return halted
    return step.status is StepStatus.COMPENSATING
