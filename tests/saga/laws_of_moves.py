"""What must be true of every step that a saga takes, whatever has made it take that step."""

from saga_stories import FINAL, NOON, pause
from saga_walk import Arrow
from saga_words import (
    UNDER_WAY,
    blocks,
    has_ended,
    is_past_pivot,
    is_turning_back,
    letters,
    moves_to,
    step_of,
    tried,
    turns_to,
)

from orchestrator.saga.state import (
    CancelRequested,
    SagaState,
    StepCompleted,
    StepFailed,
    StepStatus,
    TimeReached,
    Verdict,
)

REPLY_TO_ACTION = (StepCompleted, StepFailed)
NEXT_STATES = {
    SagaState.STARTED: {SagaState.PENDING, SagaState.COMPENSATING},
    SagaState.PENDING: {SagaState.COMPLETED, SagaState.COMPENSATING},
    SagaState.COMPENSATING: {SagaState.FAILED},
    SagaState.COMPLETED: set(),
    SagaState.FAILED: set(),
}
S = StepStatus
NEXT_STATUSES = {
    S.PENDING: {S.EXECUTING},
    S.EXECUTING: {S.EXECUTING, S.COMPLETED, S.FAILED},
    S.COMPLETED: {S.COMPENSATING},
    S.FAILED: {S.COMPLETED, S.COMPENSATING, S.EXECUTING},
    S.COMPENSATING: {S.COMPENSATING, S.COMPENSATED, S.COMPENSATION_FAILED},
    S.COMPENSATION_FAILED: {S.COMPENSATING, S.COMPENSATED},
    S.COMPENSATED: set(),
}


def versions_advance_by_one(arrow: Arrow) -> bool:
    expected = range(arrow.before.version + 1, arrow.after.version + 1)
    return [line.version for line in arrow.decision.transitions] == list(expected)


def transitions_chain(arrow: Arrow) -> bool:
    """Each line begins where the one before it has ended, and the last ones where the saga is."""
    now: dict[str | None, str] = {step.name: step.status for step in arrow.before.steps}
    now[None] = arrow.before.state
    for line in arrow.decision.transitions:
        if line.before != now.setdefault(line.step, line.before):
            return False
        now[line.step] = line.after
    after = arrow.after
    ended: dict[str | None, str] = {step.name: step.status for step in after.steps}
    return all(now[name] == status for name, status in ended.items()) and now[None] == after.state


def states_follow_each_other(arrow: Arrow) -> bool:
    return all(
        line.after in NEXT_STATES[SagaState(line.before)]
        for line in arrow.decision.transitions
        if line.step is None and line.before != line.after
    )


def statuses_follow_each_other(arrow: Arrow) -> bool:
    return all(
        line.after in NEXT_STATUSES[StepStatus(line.before)]
        for line in arrow.decision.transitions
        if line.step is not None and line.before != line.after
    )


def what_changes_is_saved(arrow: Arrow) -> bool:
    return arrow.decision.must_save or arrow.after == arrow.before


def first_failure_is_kept(arrow: Arrow) -> bool:
    return arrow.before.first_failure in {None, arrow.after.first_failure}


def first_failure_names_who_failed(arrow: Arrow) -> bool:
    """The step that failed first, or nobody where the saga was cancelled."""
    failure = arrow.after.first_failure
    if failure is None or arrow.before.first_failure is not None:
        return True
    failed = next(moves_to(arrow, StepStatus.FAILED), None)
    named = failed and (failed.step, failed.error)
    cancelled = failure.step is None and failure.error == arrow.after.cancel_reason
    return failure.at == NOON and ((failure.step, failure.error) == named if failed else cancelled)


def an_ended_saga_stays_as_it_is(arrow: Arrow) -> bool:
    before, after = arrow.before, arrow.after
    statuses = [step.status for step in before.steps] == [step.status for step in after.steps]
    unchanged = statuses and before.state is after.state and before.data is after.data
    return before.state not in FINAL or unchanged


def compensation_comes_in_reverse(arrow: Arrow) -> bool:
    """One begins only when nothing of a later stage is left to undo."""
    saga = arrow.after
    for line in moves_to(arrow, StepStatus.COMPENSATING):
        if line.before == StepStatus.COMPENSATION_FAILED:
            continue  # another attempt of what had begun in its turn
        stage = step_of(saga, line.step).plan.stage
        if any(blocks(saga, step) for step in saga.steps if step.plan.stage > stage):
            return False
    return True


def only_what_may_have_happened_is_undone(arrow: Arrow) -> bool:
    """A definite failure is not an unknown outcome."""
    for line in moves_to(arrow, StepStatus.COMPENSATING):
        if line.before == StepStatus.FAILED and not step_of(arrow.after, line.step).effect_unknown:
            return False
    return True


def what_is_outstanding_is_awaited(arrow: Arrow) -> bool:
    """Only its own reply, or its deadline, makes a step fail."""
    for line in moves_to(arrow, StepStatus.FAILED):
        step = step_of(arrow.before, line.step)
        if step.deadline is None or getattr(arrow.event, "step", None) == step.name:
            continue
        if not (isinstance(arrow.event, TimeReached) and step.deadline <= NOON):
            return False
    return True


def the_clock_leaves_nothing_due(arrow: Arrow) -> bool:
    if not isinstance(arrow.event, TimeReached):
        return True
    moments = [moment for step in arrow.after.steps for moment in (step.deadline, step.retry_at)]
    return not any(moment is not None and moment <= NOON for moment in moments)


def nothing_new_is_sent_while_turning_back(arrow: Arrow) -> bool:
    if not is_turning_back(arrow.after):
        return True
    attempts = {step.name: step.attempts for step in arrow.before.steps}
    return all(step.attempts == attempts[step.name] for step in arrow.after.steps)


def past_the_pivot_there_is_no_way_back(arrow: Arrow) -> bool:
    goes_forward = arrow.before.state in {SagaState.STARTED, SagaState.PENDING}
    turned = arrow.after.state in {SagaState.COMPENSATING, SagaState.FAILED}
    return not (goes_forward and is_past_pivot(arrow.before) and turned)


def an_overtaken_cancel_is_dropped(arrow: Arrow) -> bool:
    goes_forward = arrow.after.state in {SagaState.STARTED, SagaState.PENDING}
    overtaken = goes_forward and is_past_pivot(arrow.after)
    return not overtaken or arrow.after.cancel_reason is None


def a_person_is_told(arrow: Arrow) -> bool:
    """Of a compensation that is given up, and of a step past the pivot; and of nothing else."""
    called = {each for each in letters(arrow) if each[0] != "late_success"}
    halted = {
        ("compensation_exhausted", line.step)
        for line in moves_to(arrow, StepStatus.COMPENSATION_FAILED)
    }
    given_up = {
        ("forward_exhausted", line.step)
        for line in moves_to(arrow, StepStatus.FAILED)
        if is_past_pivot(arrow.after)
    }
    return called == halted | given_up


def a_lone_effect_is_told(arrow: Arrow) -> bool:
    before, event = arrow.before, arrow.event
    if not isinstance(event, StepCompleted) or not has_ended(before):
        return True
    step = next((step for step in before.steps if step.name == event.step), None)
    if event.redelivered or step is None or step.status is StepStatus.PENDING:
        return True
    return step.result is not None or letters(arrow) == {("late_success", event.step)}


def a_stranded_effect_is_told(arrow: Arrow) -> bool:
    """The pivot turns out to have happened while what came before it is being undone."""
    before, event = arrow.before, arrow.event
    if not isinstance(event, StepCompleted) or before.state is not SagaState.COMPENSATING:
        return True
    step = next((step for step in before.steps if step.name == event.step), None)
    if event.redelivered or step is None or not step.plan.pivot or step.plan.compensation:
        return True
    known = step.result is not None or step.status is StepStatus.PENDING
    return known or letters(arrow) == {("late_success", event.step)}


def a_deadline_is_as_planned(arrow: Arrow) -> bool:
    """It counts from when the command is sent, in either direction."""
    before = {step.name: step for step in arrow.before.steps}
    return all(
        step.deadline is None
        or step.deadline == before[step.name].deadline
        or step.deadline == NOON + step.plan.timeout
        for step in arrow.after.steps
    )


def a_pause_is_as_its_policy_says(arrow: Arrow) -> bool:
    """It grows with each attempt that counts."""
    before = {step.name: step.retry_at for step in arrow.before.steps}
    for step in arrow.after.steps:
        if step.retry_at is not None and before[step.name] is None:
            attempts, policy = tried(step)
            if step.retry_at != NOON + pause(policy, attempts, ""):
                return False
    return True


def pending_begins_with_the_first_reply(arrow: Arrow) -> bool:
    """And not before it, unless the saga turns back or has no step at all."""
    acted_on = (
        isinstance(arrow.event, REPLY_TO_ACTION) and arrow.decision.verdict is Verdict.ADVANCED
    )
    if acted_on:
        return arrow.after.state is not SagaState.STARTED
    silent = arrow.event is None or isinstance(arrow.event, CancelRequested | TimeReached)
    return not (silent and arrow.after.steps and turns_to(arrow, SagaState.PENDING))


def results_are_merged(arrow: Arrow) -> bool:
    """When a step completes its result joins the data, without reserved keys; nothing else does."""
    data = dict(arrow.before.data)
    for line in moves_to(arrow, StepStatus.COMPLETED):
        data |= step_of(arrow.after, line.step).result or {}
    return arrow.after.data == data and "saga_id" not in data


def an_attempt_is_counted_once(arrow: Arrow) -> bool:
    """Each sending adds one to its own direction; nothing else does, and nothing is taken away."""
    was = {step.name: step for step in arrow.before.steps}
    for step in arrow.after.steps:
        before = was[step.name]
        moved = step.attempts - before.attempts
        back = step.compensation_attempts - before.compensation_attempts
        if moved + back not in {0, 1} or moved < 0 or back < 0:
            return False
        if moved + back == 1 and step.status not in UNDER_WAY:
            return False
    return True


MOVE_LAWS = (
    versions_advance_by_one,
    transitions_chain,
    states_follow_each_other,
    statuses_follow_each_other,
    what_changes_is_saved,
    first_failure_is_kept,
    first_failure_names_who_failed,
    an_ended_saga_stays_as_it_is,
    compensation_comes_in_reverse,
    only_what_may_have_happened_is_undone,
    what_is_outstanding_is_awaited,
    the_clock_leaves_nothing_due,
    nothing_new_is_sent_while_turning_back,
    past_the_pivot_there_is_no_way_back,
    an_overtaken_cancel_is_dropped,
    a_person_is_told,
    a_lone_effect_is_told,
    a_stranded_effect_is_told,
    a_deadline_is_as_planned,
    a_pause_is_as_its_policy_says,
    pending_begins_with_the_first_reply,
    results_are_merged,
    an_attempt_is_counted_once,
)
