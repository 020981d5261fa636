"""What must be true of every saga, whatever has happened to it."""

from saga_words import (
    FORWARD,
    UNDER_WAY,
    blocks,
    commands,
    has_ended,
    is_turning_back,
    may_have_effect,
    tried,
    waits_for_person,
)

from orchestrator.saga.state import Saga, SagaState, StepStatus


def completed_means_all_steps(saga: Saga) -> bool:
    done = all(step.status is StepStatus.COMPLETED for step in saga.steps)
    return done == (saga.state is SagaState.COMPLETED) or is_turning_back(saga)


def failed_means_nothing_is_left(saga: Saga) -> bool:
    """`failed` always means that every compensation has finished."""
    halted = StepStatus.COMPENSATION_FAILED
    left = any(
        may_have_effect(step) or step.status in UNDER_WAY or step.status is halted
        for step in saga.steps
    )
    return saga.state is not SagaState.FAILED or not left


def an_end_has_its_time(saga: Saga) -> bool:
    return has_ended(saga) == (saga.ended_at is not None)


def a_stage_begins_after_the_one_before(saga: Saga) -> bool:
    begun = {step.plan.stage for step in saga.steps if step.attempts}
    open_stages = {
        step.plan.stage
        for step in saga.steps
        if saga.state in FORWARD and step.status is not StepStatus.COMPLETED
    }
    return not begun or not open_stages or min(open_stages) >= max(begun)


def compensation_waits_for_actions(saga: Saga) -> bool:
    executing = any(step.status is StepStatus.EXECUTING for step in saga.steps)
    begun = any(step.compensation_attempts for step in saga.steps)
    return not executing or not (begun or saga.state is SagaState.COMPENSATING)


def nothing_is_undone_while_it_goes_forward(saga: Saga) -> bool:
    return saga.state not in FORWARD or not any(step.compensation_attempts for step in saga.steps)


def only_what_can_be_undone_is(saga: Saga) -> bool:
    return all(step.plan.compensation or not step.compensation_attempts for step in saga.steps)


def undoing_is_not_put_off(saga: Saga) -> bool:
    """What is left to undo begins as soon as nothing of a later stage blocks it."""
    if saga.state is not SagaState.COMPENSATING:
        return True
    return all(
        any(blocks(saga, later) for later in saga.steps if later.plan.stage > step.plan.stage)
        for step in saga.steps
        if may_have_effect(step)
    )


def compensating_means_under_way_or_halted(saga: Saga) -> bool:
    statuses = {step.status for step in saga.steps}
    waits = {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED} & statuses
    return saga.state is not SagaState.COMPENSATING or bool(waits)


def turning_back_has_a_reason(saga: Saga) -> bool:
    going_back = saga.state in {SagaState.COMPENSATING, SagaState.FAILED}
    return not going_back or saga.first_failure is not None


def what_turns_back_does_so_at_once(saga: Saga) -> bool:
    """As soon as nothing is outstanding; what only waits for its next attempt is not."""
    outstanding = any(
        step.status is StepStatus.EXECUTING and step.deadline is not None for step in saga.steps
    )
    waiting = any(
        step.status is StepStatus.EXECUTING and step.retry_at is not None for step in saga.steps
    )
    if saga.state in FORWARD and is_turning_back(saga):
        return outstanding and not waiting
    return True


def somebody_or_something_moves_it_on(saga: Saga) -> bool:
    """No saga is silently stuck: the clock comes back to it, or a person has been told."""
    return has_ended(saga) or saga.wake_at is not None or waits_for_person(saga)


def what_is_under_way_has_its_moment(saga: Saga) -> bool:
    """A step awaits a reply or its next attempt, never both; all others await nothing."""
    return all(
        (step.deadline is not None) + (step.retry_at is not None)
        == (1 if step.status in UNDER_WAY else 0)
        for step in saga.steps
    )


def attempts_stay_within_their_budget(saga: Saga) -> bool:
    """Those before an operator's retry do not count."""
    for step in saga.steps:
        attempts, policy = tried(step)
        if step.status in UNDER_WAY and not 1 <= attempts <= policy.max_attempts:
            return False
    return True


def what_is_owed_is_guarded(saga: Saga) -> bool:
    """By the redelivery of the message that caused it, or by the clock, and by that alone."""
    unguarded = any(owed.cause is None for owed in saga.outbound)
    return unguarded == (saga.resend_at is not None)


def only_what_awaits_owes_a_command(saga: Saga) -> bool:
    """What a step owed is settled when it moves on."""
    awaiting = {step.name for step in saga.steps if step.deadline is not None}
    return {owed.step for owed in commands(saga.outbound)} <= awaiting


def only_what_awaits_is_unroutable(saga: Saga) -> bool:
    """And then the clock sends it again."""
    sent_by_clock = {owed.step for owed in commands(saga.outbound) if owed.cause is None}
    return all(
        step.deadline is not None and (step.name in sent_by_clock or not saga.outbound)
        for step in saga.steps
        if step.unroutable
    )


STATE_LAWS = (
    completed_means_all_steps,
    failed_means_nothing_is_left,
    an_end_has_its_time,
    a_stage_begins_after_the_one_before,
    compensation_waits_for_actions,
    nothing_is_undone_while_it_goes_forward,
    only_what_can_be_undone_is,
    undoing_is_not_put_off,
    compensating_means_under_way_or_halted,
    turning_back_has_a_reason,
    what_turns_back_does_so_at_once,
    somebody_or_something_moves_it_on,
    what_is_under_way_has_its_moment,
    attempts_stay_within_their_budget,
    what_is_owed_is_guarded,
    only_what_awaits_owes_a_command,
    only_what_awaits_is_unroutable,
)
