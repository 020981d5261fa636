"""The table of the rules, told a second time: what each cell allows to follow.

A cell takes the arrow and the step as it was before.
"""

from collections.abc import Callable, Mapping
from typing import Final

from saga_stories import NOON
from saga_walk import Arrow
from saga_words import (
    has_attempts_left,
    has_ended,
    has_moved,
    is_note_only,
    is_past_pivot,
    is_quiet,
    is_sealed,
    is_turning_back,
    letters,
    step_of,
)

from orchestrator.saga.plan import OnTimeout
from orchestrator.saga.state import (
    CompensationCompleted,
    CompensationFailed,
    Saga,
    SagaState,
    Step,
    StepCompleted,
    StepFailed,
    StepStatus,
    TimeReached,
    Verdict,
)

Cell = Callable[[Arrow, Step], bool]
S = StepStatus


def out_of_sequence(arrow: Arrow, _step: Step) -> bool:
    """Kept in the history, counted, and its message is a dead letter."""
    return _is(arrow, Verdict.OUT_OF_SEQUENCE, "out_of_sequence") and is_note_only(arrow)


def duplicate(arrow: Arrow, _step: Step) -> bool:
    """Counted."""
    return _is(arrow, Verdict.DUPLICATE, "duplicate") and is_quiet(arrow)


def conflict(arrow: Arrow, _step: Step) -> bool:
    """Kept, counted."""
    return _is(arrow, Verdict.NOTED, "conflict") and is_note_only(arrow)


def late_failure(arrow: Arrow, _step: Step) -> bool:
    return _is(arrow, Verdict.NOTED, "late_failure") and is_note_only(arrow)


def result_kept(arrow: Arrow, step: Step) -> bool:
    """Known: counted. Else kept for the compensation."""
    if step.result is not None:
        return duplicate(arrow, step)
    kept = step_of(arrow.after, step.name).result is not None
    return _is(arrow, Verdict.NOTED, "late_success") and is_note_only(arrow) and kept


def completed(arrow: Arrow, step: Step) -> bool:
    return _is(arrow, Verdict.ADVANCED) and has_moved(arrow, step.name, S.EXECUTING, S.COMPLETED)


def failed(arrow: Arrow, step: Step) -> bool:
    """Again after a pause, or failed; what it says of the effect is remembered."""
    if _is_old(arrow, step, step.attempts):
        return _is(arrow, Verdict.DUPLICATE, "stale_attempt") and is_quiet(arrow)
    unknown, retryable = arrow.event.effect_unknown, arrow.event.retryable  # type: ignore[union-attr]
    return _is(arrow, Verdict.ADVANCED) and _attempt_has_failed(
        arrow, step, unknown=unknown, retryable=retryable
    )


def timed_out(arrow: Arrow, step: Step) -> bool:
    """The effect is unknown, but for a command that no queue took."""
    if step.unroutable:
        return _attempt_has_failed(arrow, step, unknown=False, retryable=False)
    resend = step.plan.on_timeout is OnTimeout.RESEND
    return _attempt_has_failed(arrow, step, unknown=True, retryable=resend)


def late_success(arrow: Arrow, step: Step) -> bool:
    """Told to a person, kept for the compensation, or completed after all."""
    if step.result is not None:
        return duplicate(arrow, step)
    if _stands_alone(arrow.before, step):
        told = letters(arrow) == {("late_success", step.name)}
        return _is(arrow, Verdict.NOTED, "late_success") and told and _stays(arrow, step)
    if step.effect_unknown and not is_past_pivot(arrow.before):
        return result_kept(arrow, step)
    moved = has_moved(arrow, step.name, S.FAILED, S.COMPLETED)
    return _is(arrow, Verdict.ADVANCED, "late_success") and moved


def failed_before(arrow: Arrow, step: Step) -> bool:
    """Kept if its effect was unknown and this says something new."""
    is_news = step.effect_unknown and step.error != arrow.event.error  # type: ignore[union-attr]
    return late_failure(arrow, step) if is_news else duplicate(arrow, step)


def compensated(arrow: Arrow, step: Step) -> bool:
    return _is(arrow, Verdict.ADVANCED) and has_moved(arrow, step.name, step.status, S.COMPENSATED)


def compensation_failed(arrow: Arrow, step: Step) -> bool:
    if _is_old(arrow, step, step.compensation_attempts):
        return _is(arrow, Verdict.DUPLICATE, "stale_attempt") and is_quiet(arrow)
    again = arrow.event.retryable and has_attempts_left(step)  # type: ignore[union-attr]
    return _is(arrow, Verdict.ADVANCED) and _compensation_has_failed(arrow, step, again=again)


def compensation_timed_out(arrow: Arrow, step: Step) -> bool:
    """A failed attempt."""
    return _compensation_has_failed(arrow, step, again=has_attempts_left(step))


def success_after_undoing(arrow: Arrow, step: Step) -> bool:
    if step.result is None and has_ended(arrow.before):
        told = letters(arrow) == {("late_success", step.name)}
        return _is(arrow, Verdict.NOTED, "late_success") and told and _stays(arrow, step)
    return result_kept(arrow, step)


ROW = (StepCompleted, StepFailed, CompensationCompleted, CompensationFailed, TimeReached)
OUT: Final = out_of_sequence
TABLE: Final[Mapping[StepStatus, tuple[Cell | None, ...]]] = {
    S.PENDING: (OUT, OUT, OUT, OUT, None),
    S.EXECUTING: (completed, failed, OUT, OUT, timed_out),
    S.COMPLETED: (duplicate, conflict, OUT, OUT, None),
    S.FAILED: (late_success, failed_before, OUT, OUT, None),
    S.COMPENSATING: (
        result_kept,
        late_failure,
        compensated,
        compensation_failed,
        compensation_timed_out,
    ),
    S.COMPENSATED: (success_after_undoing, duplicate, duplicate, duplicate, None),
    S.COMPENSATION_FAILED: (duplicate, duplicate, compensated, duplicate, None),
}


def the_table_is_kept(arrow: Arrow) -> bool:
    event = arrow.event
    if isinstance(event, TimeReached):
        return _is_due_as_told(arrow)
    if not isinstance(event, ROW) or event.redelivered:
        return True
    step = next((step for step in arrow.before.steps if step.name == event.step), None)
    if step is None:
        return _is(arrow, Verdict.OUT_OF_SEQUENCE, "out_of_sequence") and is_note_only(arrow)
    cell = TABLE[step.status][ROW.index(type(event))]
    return cell is not None and cell(arrow, step)


def _is_due_as_told(arrow: Arrow) -> bool:
    """Where the moments of several steps have come, what one does may change what another does."""
    due = [step for step in arrow.before.steps if step.deadline is not None]
    due = [step for step in due if step.deadline and step.deadline <= NOON]
    if len(due) != 1:
        return True
    cell = TABLE[due[0].status][-1]
    return cell is not None and cell(arrow, due[0])


def _is(arrow: Arrow, verdict: Verdict, late: str | None = None) -> bool:
    return (arrow.decision.verdict, arrow.decision.late) == (verdict, late)


def _is_old(arrow: Arrow, step: Step, attempts: int) -> bool:
    """The answer to an attempt before the last one, or the last one's once more."""
    attempt = arrow.event.attempt  # type: ignore[union-attr]
    return (attempt is not None and attempt < attempts) or step.retry_at is not None


def _attempt_has_failed(arrow: Arrow, step: Step, *, unknown: bool, retryable: bool) -> bool:
    forward = is_past_pivot(arrow.before) or (
        step.plan.pivot and is_sealed(step, also_unknown=unknown)
    )
    again = (retryable or forward) and (forward or not is_turning_back(arrow.before))
    after = step_of(arrow.after, step.name)
    if after.effect_unknown is not (step.effect_unknown or unknown):
        return False
    if again and has_attempts_left(step):
        is_first = after.attempts == step.attempts
        return after.status is S.EXECUTING and (after.retry_at is not None) == is_first
    return has_moved(arrow, step.name, S.EXECUTING, S.FAILED)


def _compensation_has_failed(arrow: Arrow, step: Step, *, again: bool) -> bool:
    after = step_of(arrow.after, step.name)
    if again:
        return after.status is S.COMPENSATING and after.retry_at is not None
    return after.status is S.COMPENSATION_FAILED


def _stands_alone(saga: Saga, step: Step) -> bool:
    """Nothing will undo it any more."""
    cannot = step.plan.pivot and step.plan.compensation is None
    return has_ended(saga) or (saga.state is SagaState.COMPENSATING and cannot)


def _stays(arrow: Arrow, step: Step) -> bool:
    after = step_of(arrow.after, step.name)
    return after.status is step.status and after.result is not None
