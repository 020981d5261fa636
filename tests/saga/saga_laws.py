"""What must be true of every decision, whatever the saga and whatever has happened to it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from saga_stories import FINAL, NOON, pause
from saga_words import (
    blocks,
    has_begun_undoing,
    has_effect,
    is_past_pivot,
    is_turning_back,
    moves_to,
    needs_person,
    step_of,
)

from orchestrator.saga import decide as core
from orchestrator.saga.state import (
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Direction,
    Event,
    OutboundKind,
    Published,
    Saga,
    SagaState,
    StepCompleted,
    StepFailed,
    StepStatus,
    TimeReached,
    Verdict,
)

REPLIES: Final = (StepCompleted, StepFailed, CompensationCompleted, CompensationFailed)
NEXT_STATES: Final = {
    SagaState.STARTED: {SagaState.PENDING, SagaState.COMPENSATING},
    SagaState.PENDING: {SagaState.COMPLETED, SagaState.COMPENSATING},
    SagaState.COMPENSATING: {SagaState.FAILED},
    SagaState.COMPLETED: set(),
    SagaState.FAILED: set(),
}
UNDER_WAY: Final = {StepStatus.EXECUTING, StepStatus.COMPENSATING}

Law = Callable[[Saga, Event, Decision], bool]


def versions_advance_by_one(before: Saga, _event: Event, decision: Decision) -> bool:
    expected = range(before.version + 1, decision.saga.version + 1)
    return [line.version for line in decision.transitions] == list(expected)


def transitions_chain(before: Saga, _event: Event, decision: Decision) -> bool:
    """Each line begins where the one before it has ended, and the last ones where the saga is."""
    now: dict[str | None, str] = {step.name: step.status for step in before.steps}
    now[None] = before.state
    for line in decision.transitions:
        if line.before != now[line.step]:
            return False
        now[line.step] = line.after
    after = decision.saga
    return now == {None: after.state, **{step.name: step.status for step in after.steps}}


def states_follow_each_other(_before: Saga, _event: Event, decision: Decision) -> bool:
    turns = [line for line in decision.transitions if line.step is None]
    return all(
        line.before == line.after or SagaState(line.after) in NEXT_STATES[SagaState(line.before)]
        for line in turns
    )


def first_failure_is_kept(before: Saga, _event: Event, decision: Decision) -> bool:
    return before.first_failure in {None, decision.saga.first_failure}


def an_ended_saga_stays_as_it_is(before: Saga, _event: Event, decision: Decision) -> bool:
    after = decision.saga
    statuses = [step.status for step in before.steps] == [step.status for step in after.steps]
    unchanged = statuses and before.state is after.state and before.data is after.data
    return before.state not in FINAL or unchanged


def completed_means_all_steps(_before: Saga, _event: Event, decision: Decision) -> bool:
    done = all(step.status is StepStatus.COMPLETED for step in decision.saga.steps)
    return done == (decision.saga.state is SagaState.COMPLETED) or is_turning_back(decision.saga)


def failed_means_nothing_is_left(_before: Saga, _event: Event, decision: Decision) -> bool:
    saga = decision.saga
    left = any(has_effect(step) or step.status in UNDER_WAY for step in saga.steps)
    return saga.state is not SagaState.FAILED or not left


def compensation_comes_in_reverse(before: Saga, _event: Event, decision: Decision) -> bool:
    """One begins only when nothing of a later stage is left to undo."""
    saga = decision.saga
    for line in moves_to(decision, StepStatus.COMPENSATING):
        if line.before in {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED}:
            continue  # another attempt of what had begun in its turn
        stage = step_of(saga, line.step).plan.stage
        if any(blocks(saga, step) for step in saga.steps if step.plan.stage > stage):
            return False
    return True


def compensation_waits_for_actions(_before: Saga, _event: Event, decision: Decision) -> bool:
    saga = decision.saga
    executing = any(step.status is StepStatus.EXECUTING for step in saga.steps)
    return not executing or not any(has_begun_undoing(step) for step in saga.steps)


def what_is_outstanding_is_awaited(before: Saga, event: Event, decision: Decision) -> bool:
    """Only its own reply, or its deadline, makes a step fail."""
    for line in moves_to(decision, StepStatus.FAILED):
        step = step_of(before, line.step)
        if step.deadline is None or getattr(event, "step", None) == step.name:
            continue
        if not (isinstance(event, TimeReached) and step.deadline <= NOON):
            return False
    return True


def the_clock_leaves_nothing_due(_before: Saga, event: Event, decision: Decision) -> bool:
    moments = [moment for step in decision.saga.steps for moment in (step.deadline, step.retry_at)]
    return not isinstance(event, TimeReached) or not any(
        moment is not None and moment <= NOON for moment in moments
    )


def nothing_new_is_sent_while_turning_back(
    _before: Saga, _event: Event, decision: Decision
) -> bool:
    notes = ("sent again", "retried by hand")
    sent = [
        line
        for line in moves_to(decision, StepStatus.EXECUTING)
        if line.before != line.after or (line.note or "").startswith(notes)
    ]
    return not sent or not is_turning_back(decision.saga)


def past_the_pivot_there_is_no_way_back(before: Saga, _event: Event, decision: Decision) -> bool:
    goes_forward = before.state in {SagaState.STARTED, SagaState.PENDING}
    turned = decision.saga.state in {SagaState.COMPENSATING, SagaState.FAILED}
    return not (goes_forward and is_past_pivot(before) and turned)


def compensating_means_under_way_or_halted(
    _before: Saga, _event: Event, decision: Decision
) -> bool:
    statuses = {step.status for step in decision.saga.steps}
    waits = {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED} & statuses
    return decision.saga.state is not SagaState.COMPENSATING or bool(waits)


def somebody_or_something_moves_it_on(_before: Saga, _event: Event, decision: Decision) -> bool:
    """No saga is silently stuck: the clock comes back to it, or a person has been told."""
    saga = decision.saga
    return saga.state in FINAL or saga.wake_at is not None or any(needs_person(saga))


def a_person_is_told(_before: Saga, _event: Event, decision: Decision) -> bool:
    letters = {
        (owed.reason, owed.step) for owed in decision.send if owed.kind is OutboundKind.DEAD_LETTER
    }
    halted = {
        ("compensation_exhausted", line.step)
        for line in moves_to(decision, StepStatus.COMPENSATION_FAILED)
        if line.before != line.after
    }
    given_up = {
        ("forward_exhausted", line.step)
        for line in moves_to(decision, StepStatus.FAILED)
        if line.before != line.after and is_past_pivot(decision.saga)
    }
    return halted | given_up <= letters


def a_lone_effect_is_told(before: Saga, event: Event, decision: Decision) -> bool:
    if not isinstance(event, StepCompleted) or before.state not in FINAL:
        return True
    step = step_of(before, event.step)
    known = step.result is not None or step.status is StepStatus.PENDING
    return known or [owed.reason for owed in decision.send] == ["late_success"]


def what_is_under_way_has_its_moment(_before: Saga, _event: Event, decision: Decision) -> bool:
    """A step awaits a reply or its next attempt, never both; all others await nothing."""
    return all(
        [step.deadline is None, step.retry_at is None].count(False)
        == (1 if step.status in UNDER_WAY else 0)
        for step in decision.saga.steps
    )


def attempts_stay_within_their_budget(_before: Saga, _event: Event, decision: Decision) -> bool:
    """Those before an operator's retry do not count."""
    for step in decision.saga.steps:
        if step.status in UNDER_WAY:
            back = step.status is StepStatus.COMPENSATING
            attempts = step.compensation_attempts if back else step.attempts
            policy = step.plan.compensation_retry if back else step.plan.retry
            if not 1 <= attempts - step.forgiven <= policy.max_attempts:
                return False
    return True


def what_is_owed_is_guarded(_before: Saga, _event: Event, decision: Decision) -> bool:
    """By the redelivery of the message that caused it, or by the clock."""
    unguarded = any(owed.cause is None for owed in decision.saga.outbound)
    return not unguarded or decision.saga.resend_at is not None


def only_a_confirmation_settles_what_is_owed(
    before: Saga, event: Event, decision: Decision
) -> bool:
    """What came back to somebody else says nothing of what the clock is sending."""
    owed = {(each.destination, each.step) for each in decision.saga.outbound}
    owed_before = {(each.destination, each.step) for each in before.outbound}
    confirmed = not isinstance(event, Published) or event.version == before.version
    return confirmed or owed_before <= owed


def what_is_sent_is_owed(_before: Saga, _event: Event, decision: Decision) -> bool:
    return all(owed in decision.saga.outbound for owed in decision.send)


def commands_say_what_the_plan_says(_before: Saga, _event: Event, decision: Decision) -> bool:
    for owed in decision.send:
        if owed.kind is OutboundKind.COMMAND:
            plan = step_of(decision.saga, owed.step).plan
            forward = owed.direction is Direction.ACTION
            if owed.destination != (plan.action if forward else plan.compensation):
                return False
    return True


def what_moves_is_sent(before: Saga, _event: Event, decision: Decision) -> bool:
    """A step that begins to await a reply has a command on its way."""
    commands = {owed.step for owed in decision.send if owed.kind is OutboundKind.COMMAND}
    began = {
        step.name
        for step, was in zip(decision.saga.steps, before.steps, strict=True)
        if (step.attempts, step.compensation_attempts) != (was.attempts, was.compensation_attempts)
    }
    needs_clock = decision.saga.resend_at is not None  # an operator's: the clock sends it
    return needs_clock or began <= commands


def only_an_advance_moves_steps(before: Saga, _event: Event, decision: Decision) -> bool:
    moved = [step.status for step in before.steps] != [step.status for step in decision.saga.steps]
    return decision.verdict is Verdict.ADVANCED or not moved


def a_duplicate_changes_nothing(before: Saga, _event: Event, decision: Decision) -> bool:
    kinds = {Verdict.DUPLICATE, Verdict.REFUSED, Verdict.SEND_AGAIN, Verdict.NOTHING}
    unchanged = decision.saga == before and not decision.must_save
    return decision.verdict not in kinds or unchanged


def a_redelivery_moves_nothing(_before: Saga, event: Event, decision: Decision) -> bool:
    """What the message has brought about is sent again, and nothing else comes of it."""
    if not isinstance(event, REPLIES):
        return True
    again = core.decide(decision.saga, replace(event, redelivered=True), now=NOON, delay=pause)
    owed = [each for each in decision.saga.outbound if each.cause == event.cause]
    if owed and decision.must_save:
        return again.verdict is Verdict.SEND_AGAIN and list(again.send) == owed
    return [step.status for step in again.saga.steps] == [
        step.status for step in decision.saga.steps
    ]


LAWS: Final[tuple[Law, ...]] = (
    versions_advance_by_one,
    transitions_chain,
    states_follow_each_other,
    first_failure_is_kept,
    an_ended_saga_stays_as_it_is,
    completed_means_all_steps,
    failed_means_nothing_is_left,
    compensation_comes_in_reverse,
    compensation_waits_for_actions,
    what_is_outstanding_is_awaited,
    the_clock_leaves_nothing_due,
    nothing_new_is_sent_while_turning_back,
    past_the_pivot_there_is_no_way_back,
    compensating_means_under_way_or_halted,
    somebody_or_something_moves_it_on,
    a_person_is_told,
    a_lone_effect_is_told,
    what_is_under_way_has_its_moment,
    attempts_stay_within_their_budget,
    what_is_owed_is_guarded,
    only_a_confirmation_settles_what_is_owed,
    what_is_sent_is_owed,
    commands_say_what_the_plan_says,
    what_moves_is_sent,
    only_an_advance_moves_steps,
    a_duplicate_changes_nothing,
    a_redelivery_moves_nothing,
)


def broken_laws(before: Saga, event: Event, decision: Decision) -> list[str]:
    laws = LAWS
    if decision.saga is before:  # nothing came of it: only that may be wrong
        laws = (a_lone_effect_is_told, a_duplicate_changes_nothing)
    return [law.__name__ for law in laws if not law(before, event, decision)]
