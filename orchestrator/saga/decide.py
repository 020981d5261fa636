"""What follows from an event. `TABLE` is the whole of it for a step; docs/rules.md shows it.

The cells are in `rules`; what follows for the saga as a whole is `flow.proceed`; what people
may ask for is in `interventions`. Every function is total: an event that fits nothing changes
nothing, and nothing here raises.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, assert_never

from orchestrator.saga.changed import changed
from orchestrator.saga.doubt import doubt, is_of_lost_past, judge, stale
from orchestrator.saga.draft import SEND_GUARD, Delay, Draft
from orchestrator.saga.flow import is_turning_back, proceed
from orchestrator.saga.interventions import cancel, reopen, resolve, retry
from orchestrator.saga.moves import forget_sent, mark_unroutable, send_next_attempt
from orchestrator.saga.requests import LossJudged, ReopenRequested
from orchestrator.saga.rules import (
    compensated,
    compensation_failed,
    compensation_timed_out,
    completed,
    conflict,
    duplicate,
    failed,
    failed_before,
    fits_nothing,
    late_failure,
    late_success,
    out_of_sequence,
    result_kept,
    success_after_undoing,
    timed_out,
)
from orchestrator.saga.state import (
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Event,
    Published,
    Reply,
    ResolveRequested,
    RetryRequested,
    Saga,
    StartRepeated,
    Step,
    StepCompleted,
    StepFailed,
    StepStatus,
    TimeReached,
    Verdict,
)

Rule = Callable[[Draft, Step, Any], Decision]
AtDeadline = Callable[[Draft, Step], None]

COLUMNS: Final = (StepCompleted, StepFailed, CompensationCompleted, CompensationFailed)
NOTHING_FITS: Final = (out_of_sequence, out_of_sequence, out_of_sequence, out_of_sequence)
# One column for each reply, and the last for the moment when the step's deadline passes.
TABLE: Final[Mapping[StepStatus, tuple[Rule, Rule, Rule, Rule, AtDeadline | None]]] = {
    StepStatus.PENDING: (*NOTHING_FITS, None),
    StepStatus.EXECUTING: (completed, failed, out_of_sequence, out_of_sequence, timed_out),
    StepStatus.COMPLETED: (duplicate, conflict, out_of_sequence, out_of_sequence, None),
    StepStatus.FAILED: (late_success, failed_before, out_of_sequence, out_of_sequence, None),
    StepStatus.COMPENSATING: (
        result_kept,
        late_failure,
        compensated,
        compensation_failed,
        compensation_timed_out,
    ),
    StepStatus.COMPENSATED: (success_after_undoing, duplicate, duplicate, duplicate, None),
    StepStatus.COMPENSATION_FAILED: (duplicate, duplicate, compensated, duplicate, None),
}


def decide(saga: Saga, event: Event, *, now: datetime, delay: Delay) -> Decision:
    """Everything that follows from `event`: a new saga, its history, what to send.

    Of a saga in doubt that comes first, and then what follows from `event`.
    """
    is_judged = isinstance(event, LossJudged)
    if not saga.in_doubt or not saga.steps or saga.state.is_final or is_judged:
        return _decide(saga, event, now=now, delay=delay)
    draft = Draft(saga, now=now, delay=delay, by="clock")
    doubt(draft)
    doubted = draft.decision()  # what it owes, the clock sends
    then = _decide(doubted.saga, event, now=now, delay=delay)
    transitions = (*doubted.transitions, *then.transitions)
    return changed(then, transitions=transitions, must_save=True)


def _decide(saga: Saga, event: Event, *, now: datetime, delay: Delay) -> Decision:
    match event:
        case StepCompleted() | StepFailed() | CompensationCompleted() | CompensationFailed():
            draft = Draft(
                saga, now=now, delay=delay, by="reply", message=event.cause, actor=event.actor
            )
            return _send_again(saga, event) or _on_reply(draft, event)
        case StartRepeated():
            return _send_again(saga, event) or Decision(saga=saga, verdict=Verdict.DUPLICATE)
        case CancelRequested():
            draft = Draft(
                saga, now=now, delay=delay, by="operator", message=event.cause, actor=event.actor
            )
            return _send_again(saga, event) or cancel(draft, event)
        case RetryRequested() | ResolveRequested() | ReopenRequested() | LossJudged():
            draft = Draft(saga, now=now, delay=delay, by="operator", actor=event.actor)
            return _on_request(draft, event)
        case TimeReached():
            return _on_time(Draft(saga, now=now, delay=delay, by="clock"))
        case Published():
            return _on_published(Draft(saga, now=now, delay=delay, by="clock"), event)
        case _:
            assert_never(event)


def _send_again(saga: Saga, event: Reply | StartRepeated | CancelRequested) -> Decision | None:
    """What this message brought about, if it comes again because that may not have left."""
    if not event.redelivered or event.cause is None:
        return None
    owed = tuple(outbound for outbound in saga.outbound if outbound.cause == event.cause)
    return Decision(saga=saga, verdict=Verdict.SEND_AGAIN, send=owed) if owed else None


def _on_reply(draft: Draft, reply: Reply) -> Decision:
    """Find the cell of the table, and do what it says."""
    if is_of_lost_past(draft.saga, reply):
        return stale(draft, reply)
    step = next((step for step in draft.saga.steps if step.plan.name == reply.step), None)
    if step is None:
        # Before its plan, a saga has no steps whose lines of history this one could precede.
        return fits_nothing(draft, reply.step if draft.saga.steps else None, reply)
    rules = TABLE[step.status][:-1]
    return rules[COLUMNS.index(type(reply))](draft, step, reply)


def _on_request(
    draft: Draft, event: RetryRequested | ResolveRequested | ReopenRequested | LossJudged
) -> Decision:
    match event:
        case RetryRequested():
            return retry(draft, event)
        case ResolveRequested():
            return resolve(draft, event)
        case ReopenRequested():
            return reopen(draft, event)
        case LossJudged():
            return judge(draft, event)
        case _:
            assert_never(event)


def _on_time(draft: Draft) -> Decision:
    """Timeouts, pauses that are over, and what nobody else sends."""
    if not draft.saga.steps and not draft.saga.outbound:
        return Decision(saga=draft.saga, verdict=Verdict.NOTHING)  # it has to be planned first
    for step in draft.saga.steps:
        at_deadline = TABLE[step.status][-1]
        if at_deadline and step.deadline is not None and step.deadline <= draft.now:
            at_deadline(draft, step)
    for step in draft.saga.steps:
        if step.retry_at is not None and step.retry_at <= draft.now:
            _pause_is_over(draft, step)
    proceed(draft)
    draft.send_unguarded()
    draft.guard(SEND_GUARD)
    return draft.decision()


def _pause_is_over(draft: Draft, step: Step) -> None:
    """The next attempt, unless it is an action and the saga has turned back meanwhile."""
    if step.status is StepStatus.COMPENSATING or not is_turning_back(draft.saga):
        send_next_attempt(draft, step, "sent again")


def _on_published(draft: Draft, event: Published) -> Decision:
    """What the clock has sent is settled. What came back is sent again until its deadline."""
    is_lost = event.epoch is not None and event.epoch != draft.saga.epoch
    if is_lost or not (draft.saga.steps or draft.saga.outbound):
        return draft.decision()  # of another life: of this one nobody has sent anything
    if event.version == draft.saga.version:
        forget_sent(draft, event.unroutable)
    elif event.version is not None:
        return draft.decision()  # it has moved on: the clock comes back to it
    mark_unroutable(draft, event.unroutable)
    draft.guard(SEND_GUARD)
    return draft.decision()
