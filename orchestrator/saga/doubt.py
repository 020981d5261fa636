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
from orchestrator.saga.requests import LossJudged
from orchestrator.saga.state import (
    Decision,
    Reply,
    Saga,
    SagaState,
    Step,
    StepStatus,
)

IN_DOUBT: Final = "in doubt"
STALE: Final = "stale_epoch"
_WHY: Final = "the database lost its last commits or was restored: what followed is not known"


def doubt(draft: Draft) -> None:
    """Past the pivot it goes on. Else every step is compensated, whatever the row says of it."""
    draft.change(in_doubt=False)
    turned_back = _is_on_way_back(draft.saga)  # so had it then, whatever came after
    _doubt(draft, None if turned_back else _pivot_in_question(draft.saga))


def judge(draft: Draft, event: LossJudged) -> Decision:
    """What a person knows better than any epoch."""
    if not draft.saga.steps or draft.saga.state.is_final:
        return draft.decision()
    draft.change(in_doubt=False)
    word = "lost" if event.is_lost else "nothing is lost"
    draft.note(None, f"{word}: {event.reason}")
    if event.is_lost:
        _doubt(draft, _pivot_in_question(draft.saga))
    return draft.decision()


def is_of_lost_past(saga: Saga, reply: Reply) -> bool:
    """It tells of an epoch that the saga knows nothing of, and nothing is settled yet."""
    is_known = reply.epoch is None or not saga.epochs or reply.epoch in saga.epochs
    if is_known or not saga.steps:  # without steps, it will ask for itself
        return False
    return not saga.state.is_final and (_is_on_way_back(saga) or not is_past_pivot(saga))


def stale(draft: Draft, reply: Reply) -> Decision:
    """Kept and counted. The saga has had a life that is lost: it is in doubt."""
    draft.note(reply.step, STALE)
    if reply.epoch is not None:
        draft.change(epochs=(reply.epoch, *draft.saga.epochs))
    _doubt(draft, _pivot_in_question(draft.saga))
    return draft.decision(late=STALE)


def _doubt(draft: Draft, pivot: Step | None) -> None:
    draft.note(None, IN_DOUBT, error=_WHY)
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


def _is_on_way_back(saga: Saga) -> bool:
    return saga.state is SagaState.COMPENSATING


def _pivot_in_question(saga: Saga) -> Step | None:
    """A pivot that may have been passed, or not, since the row was written."""
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
    draft.fail_first(None, draft.saga.cancel_reason or _WHY)
    for step in draft.saga.steps:
        match step.status:
            case StepStatus.EXECUTING:
                _fail_unknown(draft, step)
            case StepStatus.PENDING if step.plan.compensation:
                _fail_unknown(draft, step)
            case StepStatus.FAILED:
                draft.change_step(step, effect_unknown=True)
            case _:
                pass
    if not _is_on_way_back(draft.saga):
        draft.turn(SagaState.COMPENSATING)


def _fail_unknown(draft: Draft, step: Step) -> None:
    fail(draft, draft.change_step(step, effect_unknown=True), _WHY, IN_DOUBT)


def _ask_again(draft: Draft, step: Step) -> None:
    """Send what is outstanding again, in this epoch. The attempt does not count."""
    forgiven = draft.change_step(step, forgiven=step.forgiven + 1)
    send_next_attempt(draft, forgiven, "asked again")
