"""Sagas in doubt: the database has lost what happened after their rows were written.

Then the row may be older than what was sent, and the participants may know better. See
docs/adr/0012-sagas-in-doubt-after-a-restore.md for why all steps are compensated.
"""

from datetime import timedelta
from typing import Final

from orchestrator.saga.draft import Draft
from orchestrator.saga.flow import is_past_pivot, proceed
from orchestrator.saga.moves import fail, send_next_attempt
from orchestrator.saga.outbound import in_doubt_of
from orchestrator.saga.state import (
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Reply,
    Saga,
    SagaState,
    Step,
    StepStatus,
    Verdict,
)

IN_DOUBT: Final = "in doubt"
STALE: Final = "stale_epoch"
_WHY: Final = "the database lost its last commits or was restored: what followed is not known"


def doubt(draft: Draft) -> None:
    """Past the pivot it goes on. Else every step is compensated, whatever the row says of it."""
    draft.change(in_doubt=False)
    draft.note(None, IN_DOUBT, error=_WHY)
    pivot = _pivot_in_question(draft.saga)
    if pivot is not None and pivot.status is StepStatus.EXECUTING:
        draft.change_step(pivot, effect_unknown=True)
    if _is_on_way_back(draft.saga) or not is_past_pivot(draft.saga):
        _suspect(draft)
    for step in draft.saga.steps:
        if step.deadline is not None:
            _ask_again(draft, step)
    proceed(draft)
    if pivot is not None:
        draft.owe(in_doubt_of(draft.saga, draft.step(pivot.name), draft.message))
    draft.guard(timedelta(0))


def is_of_lost_past(saga: Saga, step: Step, reply: Reply) -> bool:
    """It answers a command of another epoch, and would move the saga or contradict it."""
    if None in (saga.epoch, reply.epoch) or reply.epoch == saga.epoch:
        return False
    return step.status in {StepStatus.PENDING, StepStatus.EXECUTING} or _proves_loss(saga, reply)


def stale(draft: Draft, step: Step, reply: Reply) -> Decision:
    """Kept and counted; the command is under way again. A step undone in a lost past proves
    that its saga is in doubt."""
    draft.note(step.name, STALE)
    if not _proves_loss(draft.saga, reply):
        return draft.decision(Verdict.NOTED, late=STALE)
    doubt(draft)
    return draft.decision(late=STALE)


def _proves_loss(saga: Saga, reply: Reply) -> bool:
    """In a past that is lost, it had turned back."""
    goes_forward = saga.state in {SagaState.STARTED, SagaState.PENDING}
    is_undone = isinstance(reply, CompensationCompleted | CompensationFailed)
    return is_undone and goes_forward and not is_past_pivot(saga)


def _is_on_way_back(saga: Saga) -> bool:
    return saga.state is SagaState.COMPENSATING


def _pivot_in_question(saga: Saga) -> Step | None:
    """A pivot that may have been passed, or not, since the row was written."""
    if _is_on_way_back(saga):
        return None
    return next(
        (
            step
            for step in saga.steps
            if step.plan.pivot and step.status is not StepStatus.COMPLETED
        ),
        None,
    )


def _suspect(draft: Draft) -> None:
    """Turn back. A step that the row does not know as completed may have had its effect."""
    was_on_way_back = _is_on_way_back(draft.saga)
    draft.fail_first(None, draft.saga.cancel_reason or _WHY)
    for step in draft.saga.steps:
        match step.status:
            case StepStatus.EXECUTING:
                _fail_unknown(draft, step)
            case StepStatus.PENDING if step.plan.compensation and not was_on_way_back:
                _fail_unknown(draft, step)
            case StepStatus.FAILED:
                draft.change_step(step, effect_unknown=True)
            case _:
                pass
    if not was_on_way_back:
        draft.turn(SagaState.COMPENSATING)


def _fail_unknown(draft: Draft, step: Step) -> None:
    fail(draft, draft.change_step(step, effect_unknown=True), _WHY, IN_DOUBT)


def _ask_again(draft: Draft, step: Step) -> None:
    """Send what is outstanding again, in this epoch. The attempt does not count."""
    forgiven = draft.change_step(step, forgiven=step.forgiven + 1)
    send_next_attempt(draft, forgiven, "asked again")
