"""Sagas in doubt: the database has lost what happened after their rows were written.

Then the row may be older than what was sent, and the participants may know better. See
docs/adr/0012-sagas-in-doubt-after-a-restore.md for why all steps are compensated.
"""

from datetime import timedelta
from typing import Final, assert_never

from orchestrator.saga.draft import Draft
from orchestrator.saga.flow import is_parked, is_past_pivot, proceed
from orchestrator.saga.moves import call_again, fail, send_next_attempt
from orchestrator.saga.outbound import in_doubt_of
from orchestrator.saga.requests import LossJudged
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
    if not saga.epochs or not saga.steps or not _unknown_to(saga, reply):
        return False
    return not saga.state.is_final and (_is_on_way_back(saga) or not is_past_pivot(saga))


def is_left_over(saga: Saga, step: Step, reply: Reply) -> bool:
    """It fits nothing, and that is no wonder: the saga has lived in another epoch, too.

    What it tells is asked for again, or done anyway, but for an effect that nothing will undo
    any more, and for what is undone while the saga goes forward.
    """
    if len(saga.epochs) < 2 and not (saga.epochs and _unknown_to(saga, reply)):
        return False
    match reply:
        case StepCompleted():
            return step.plan.compensation is None and not step.plan.pivot
        case StepFailed():
            return True
        case CompensationCompleted():
            return _is_on_way_back(saga) or saga.state is SagaState.FAILED
        case CompensationFailed():
            return _is_on_way_back(saga)
        case _:
            assert_never(reply)


def has_asked_nobody(saga: Saga, reply: Reply) -> bool:
    """It has no plan: what is answered was asked in a life that is lost. It will ask again, but
    not if it has ended: then a person has to know of an effect."""
    if saga.steps or reply.epoch is None:
        return False
    stands = isinstance(reply, StepCompleted | CompensationFailed)
    return not (saga.state.is_final and stands)


def stale(draft: Draft, reply: Reply) -> Decision:
    """Kept and counted. The saga has had a life that is lost: it is in doubt."""
    draft.note(reply.step, STALE)
    draft.change(epochs=(*_unknown_to(draft.saga, reply), *draft.saga.epochs))
    _doubt(draft, _pivot_in_question(draft.saga))
    return draft.decision(late=STALE)


def _unknown_to(saga: Saga, reply: Reply) -> list[str]:
    """Of the epochs in which its participant has heard of the step and of this command."""
    return [epoch for epoch in (reply.epoch or "").split() if epoch not in saga.epochs]


def _doubt(draft: Draft, pivot: Step | None) -> None:
    draft.note(None, IN_DOUBT, error=_WHY)
    if pivot is not None and pivot.status is StepStatus.EXECUTING:
        draft.change_step(pivot, effect_unknown=True)
    if _is_on_way_back(draft.saga) or not is_past_pivot(draft.saga):
        _suspect(draft)
    for step in draft.saga.steps:
        if step.deadline is not None:
            _ask_again(draft, step)
        elif is_parked(draft.saga, step):
            call_again(draft, step)
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
