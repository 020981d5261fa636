"""What a step does with each reply, and when its deadline passes: the cells of `decide.TABLE`.

The docstring of a rule is what docs/rules.md says of it.
"""

from orchestrator.saga.doubt import STALE, has_asked_nobody, is_left_over
from orchestrator.saga.draft import Draft
from orchestrator.saga.flow import can_turn_back, is_past_pivot, is_turning_back, proceed
from orchestrator.saga.moves import (
    call_for_action,
    complete,
    fail,
    finish_compensation,
    give_up_compensation,
    own_result,
    retry_later,
)
from orchestrator.saga.outbound import late_success_of
from orchestrator.saga.plan import OnTimeout
from orchestrator.saga.state import (
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Reply,
    Saga,
    SagaState,
    Step,
    StepCompleted,
    StepFailed,
    Verdict,
)


def completed(draft: Draft, step: Step, reply: StepCompleted) -> Decision:
    """The result is merged; the next stage begins, or the saga has completed."""
    too_large = complete(draft, step, reply.result)
    if too_large:
        kept = draft.change_step(step, result=own_result(draft, reply.result))
        note = "result too large"
        _attempt_failed(draft, kept, too_large, unknown=True, retryable=False, note=note)
    return _proceeded(draft)


def failed(draft: Draft, step: Step, reply: StepFailed) -> Decision:
    """An older attempt is only counted. `retryable` and attempts left: again after a pause.
    Else failed, and the saga turns back; past the pivot a person is called instead."""
    if _is_old(reply, step.attempts) or step.retry_at is not None:
        return _known(draft, "stale_attempt")
    unknown, retryable = reply.effect_unknown, reply.retryable
    _attempt_failed(draft, step, reply.error, unknown=unknown, retryable=retryable)
    return _proceeded(draft)


def timed_out(draft: Draft, step: Step) -> None:
    """The effect is unknown. `resend` and attempts left: sent again. Else failed, and this step
    is compensated too, first. A command that no queue took has failed without effect."""
    if step.unroutable:
        error = _without_queue(step.plan.action)
        _attempt_failed(draft, step, error, unknown=False, retryable=False, note="unroutable")
    else:
        error, resends = _without_reply(step), step.plan.on_timeout is OnTimeout.RESEND
        _attempt_failed(draft, step, error, unknown=True, retryable=resends, note="timed out")


def late_success(draft: Draft, step: Step, reply: StepCompleted) -> Decision:
    """Compensated as soon as it is known; if that is due anyway, the result is kept for it.
    Past the pivot the saga goes on. Where nothing can undo it, a person is told."""
    if step.result is not None:
        return _known(draft, "duplicate")
    if _stands_alone(draft.saga, step):
        return _person_told(draft, step, reply)
    if step.effect_unknown and not is_past_pivot(draft.saga):
        return result_kept(draft, step, reply)
    too_large = complete(draft, step, reply.result, "late_success")
    if too_large:
        result = own_result(draft, reply.result)
        draft.change_step(step, result=result, effect_unknown=True)
        draft.note(step.name, "late_success", error=too_large)
    return _proceeded(draft, late="late_success")


def failed_before(draft: Draft, step: Step, reply: StepFailed) -> Decision:
    """Counted. If its effect was unknown, what the participant says now is kept."""
    if step.effect_unknown and reply.error != step.error:
        return late_failure(draft, step, reply)
    return _known(draft, "duplicate")


def conflict(draft: Draft, step: Step, reply: StepFailed) -> Decision:
    """The first answer counts; this one is kept and counted."""
    return _kept(draft, step, "conflict", reply.error)


def result_kept(draft: Draft, step: Step, reply: StepCompleted) -> Decision:
    """The result is kept: the next compensation command carries it."""
    if step.result is not None:
        return _known(draft, "duplicate")
    draft.change_step(step, result=own_result(draft, reply.result))
    return _kept(draft, step, "late_success")


def late_failure(draft: Draft, step: Step, reply: StepFailed) -> Decision:
    """Kept and counted."""
    return _kept(draft, step, "late_failure", reply.error)


def compensated(draft: Draft, step: Step, _reply: CompensationCompleted) -> Decision:
    """Compensated: the next one back, or the saga has failed."""
    finish_compensation(draft, step)
    return _proceeded(draft)


def compensation_failed(draft: Draft, step: Step, reply: CompensationFailed) -> Decision:
    """An older attempt is only counted. Attempts left: again after a pause. Else
    `compensation_failed`, and a dead letter."""
    if _is_old(reply, step.compensation_attempts) or step.retry_at is not None:
        return _known(draft, "stale_attempt")
    _compensation_attempt_failed(draft, step, reply.error, "failed", retryable=reply.retryable)
    return _proceeded(draft)


def compensation_timed_out(draft: Draft, step: Step) -> None:
    """A failed attempt."""
    command = step.plan.compensation or step.plan.action
    error = _without_queue(command) if step.unroutable else _without_reply(step)
    note = "unroutable" if step.unroutable else "timed out"
    _compensation_attempt_failed(draft, step, error, note, retryable=True)


def success_after_undoing(draft: Draft, step: Step, reply: StepCompleted) -> Decision:
    """Kept and counted. If the saga has ended, a person is told."""
    if step.result is None and draft.saga.state.is_final:
        return _person_told(draft, step, reply)
    return result_kept(draft, step, reply)


def duplicate(draft: Draft, _step: Step, _reply: Reply) -> Decision:
    """Counted."""
    return _known(draft, "duplicate")


def out_of_sequence(draft: Draft, step: Step, reply: Reply) -> Decision:
    """Not acted on: kept, counted, and a dead letter with reason `out_of_sequence`."""
    if is_left_over(draft.saga, step, reply):
        return _kept(draft, step, STALE)
    return fits_nothing(draft, step.name, reply)


def fits_nothing(draft: Draft, step: str | None, reply: Reply) -> Decision:
    """The same for a step that the saga may not even have."""
    if has_asked_nobody(draft.saga, reply):
        return _known(draft, STALE)
    draft.note(step, f"out of sequence: {type(reply).__name__}")
    return draft.decision(Verdict.OUT_OF_SEQUENCE, late="out_of_sequence")


def _attempt_failed(
    draft: Draft, step: Step, error: str, *, unknown: bool, retryable: bool, note: str = "failed"
) -> None:
    """Again after a pause, or failed. Past the pivot, failed means that a person is called."""
    step = draft.change_step(step, effect_unknown=step.effect_unknown or unknown)
    forward = is_past_pivot(draft.saga)
    again = (retryable or forward) and not is_turning_back(draft.saga)
    if again and step.attempts - step.forgiven < step.plan.retry.max_attempts:
        was_pause_enough = note == "timed out"
        retry_later(draft, step, error, note, at_once=was_pause_enough)
        return
    given_up = fail(draft, step, error, note)
    if forward:
        call_for_action(draft, given_up)


def _compensation_attempt_failed(
    draft: Draft, step: Step, error: str, note: str, *, retryable: bool
) -> None:
    tried = step.compensation_attempts - step.forgiven
    if retryable and tried < step.plan.compensation_retry.max_attempts:
        retry_later(draft, step, error, note)
    else:
        give_up_compensation(draft, step, error, note)


def _is_old(reply: StepFailed | CompensationFailed, attempts: int) -> bool:
    return reply.attempt is not None and reply.attempt < attempts


def _without_queue(command: str) -> str:
    return f"no queue was bound for {command} until its deadline"


def _without_reply(step: Step) -> str:
    return f"no reply within {step.plan.timeout.total_seconds():g} s"


def _stands_alone(saga: Saga, step: Step) -> bool:
    """Nothing will undo it: the saga has ended, or is undone although its pivot is behind it."""
    is_sealed = step.plan.pivot and step.plan.compensation is None
    return saga.state.is_final or (saga.state is SagaState.COMPENSATING and is_sealed)


def _person_told(draft: Draft, step: Step, reply: StepCompleted) -> Decision:
    draft.owe(late_success_of(draft.saga, step, reply.result, draft.message))
    return result_kept(draft, step, reply)


def _proceeded(draft: Draft, late: str | None = None) -> Decision:
    """The saga has had its first reply, and goes where this one leads."""
    if draft.saga.state is SagaState.STARTED and not can_turn_back(draft.saga):
        draft.turn(SagaState.PENDING)
    proceed(draft)
    return draft.decision(late=late)


def _known(draft: Draft, late: str) -> Decision:
    """Counted, and nothing else."""
    return Decision(saga=draft.saga, verdict=Verdict.DUPLICATE, late=late)


def _kept(draft: Draft, step: Step, late: str, error: str | None = None) -> Decision:
    draft.note(step.name, late, error=error)
    return draft.decision(Verdict.NOTED, late=late)
