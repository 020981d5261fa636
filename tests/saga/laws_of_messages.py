"""What must be true of what a saga sends, and of what it still owes."""

import json
from dataclasses import replace

from saga_stories import NOON, pause
from saga_walk import Arrow
from saga_words import commands, is_quiet, letters, step_of, turns_to

from orchestrator.saga.state import (
    Direction,
    OutboundKind,
    Published,
    SagaState,
    Step,
    StepCompleted,
    StepFailed,
    Verdict,
)

ENDS = ((SagaState.COMPLETED, "OrderCompleted"), (SagaState.FAILED, "OrderFailed"))


def what_is_sent_is_owed(arrow: Arrow) -> bool:
    return all(owed in arrow.after.outbound for owed in arrow.decision.send)


def what_is_owed_is_not_forgotten(arrow: Arrow) -> bool:
    """Only a confirmation, or the step's own next move, settles what it owes."""
    moved = {line.step for line in arrow.decision.transitions if line.step is not None}
    now = {(each.kind, each.destination, each.step) for each in arrow.after.outbound}
    lost = [
        each
        for each in arrow.before.outbound
        if (each.kind, each.destination, each.step) not in now and each.step not in moved
    ]
    if not isinstance(arrow.event, Published):
        return not lost
    confirmed = arrow.event.version == arrow.before.version
    return all(confirmed and each.cause is None for each in lost)


def what_is_confirmed_is_settled(arrow: Arrow) -> bool:
    """Nothing that the clock has sent stays owed, but for what came back."""
    event = arrow.event
    if not isinstance(event, Published) or event.version != arrow.before.version:
        return True
    owed = [each for each in arrow.after.outbound if each.cause is None]
    return all(each.kind is OutboundKind.COMMAND and each.step in event.unroutable for each in owed)


def a_deadline_counts_from_the_sending(arrow: Arrow) -> bool:
    """A command that the clock had to send is awaited from when that is confirmed."""
    event = arrow.event
    if not isinstance(event, Published) or event.version != arrow.before.version:
        return True
    sent = {each.step for each in commands(arrow.before.outbound) if each.cause is None}
    return all(
        step.deadline == NOON + step.plan.timeout
        for step in arrow.after.steps
        if step.name in sent - event.unroutable
    )


def what_came_back_is_sent_again(arrow: Arrow) -> bool:
    """By the clock, until its step's deadline, which stays."""
    event = arrow.event
    if not isinstance(event, Published) or event.version not in {None, arrow.before.version}:
        return True
    owed = {each.step for each in commands(arrow.after.outbound) if each.cause is None}
    deadlines = {step.name: step.deadline for step in arrow.before.steps}
    return all(
        step.unroutable and step.name in owed and step.deadline == deadlines[step.name]
        for step in arrow.after.steps
        if step.name in event.unroutable
    )


def commands_say_what_the_plan_says(arrow: Arrow) -> bool:
    for owed in commands(arrow.decision.send):
        step = step_of(arrow.after, owed.step)
        forward = owed.direction is Direction.ACTION
        right = (
            (step.plan.action, step.attempts)
            if forward
            else (step.plan.compensation, step.compensation_attempts)
        )
        if owed.body != "{}" and (owed.destination, owed.attempt) != right:
            return False
    return True


def commands_carry_what_is_known(arrow: Arrow) -> bool:
    """The saga's data, and the way back also the step's own result."""
    for owed in commands(arrow.decision.send):
        if owed.body == "{}":
            continue  # from before, its body left out by the walk
        step = step_of(arrow.after, owed.step)
        expected = {**arrow.after.data, "saga_id": "s", "step_name": step.name}
        if owed.direction is Direction.COMPENSATION:
            expected["original_result"] = step.result
        if json.loads(owed.body) != expected:
            return False
    return True


def what_moves_is_sent(arrow: Arrow) -> bool:
    """A step that begins to await a reply has its command on the way, now or by the clock."""
    was = {step.name: step for step in arrow.before.steps}
    began = {
        (step.name, "action" if step.attempts != was[step.name].attempts else "compensation")
        for step in arrow.after.steps
        if _attempts(step) != _attempts(was[step.name])
    }
    owed = {(each.step, str(each.direction)) for each in commands(arrow.after.outbound)}
    sent = {(each.step, str(each.direction)) for each in commands(arrow.decision.send)}
    needs_clock = arrow.after.resend_at is not None  # an operator's: the clock sends it
    return began <= owed and (needs_clock or began <= sent)


def an_end_is_announced(arrow: Arrow) -> bool:
    """Once, with the saga's data and, if it failed, with the first failure."""
    expected = [name for state, name in ENDS if turns_to(arrow, state)]
    said = [each for each in arrow.after.outbound if each not in arrow.before.outbound]
    said = [each for each in said if each.kind is OutboundKind.EVENT and each.step is None]
    if [each.destination for each in said] != expected:
        return False
    if not said or said[0].destination == "OrderCompleted":
        return True
    body, failure = json.loads(said[0].body), arrow.after.first_failure
    told = (failure.error, failure.step) if failure else (None, None)
    return (body["error"], body["failed_step"]) == told


def an_exhausted_compensation_is_announced(arrow: Arrow) -> bool:
    given_up = {step for reason, step in letters(arrow) if reason == "compensation_exhausted"}
    said = {
        each.step
        for each in arrow.after.outbound
        if each.destination == "SagaCompensationDeadLettered" and each not in arrow.before.outbound
    }
    return given_up == said


def only_an_advance_moves_steps(arrow: Arrow) -> bool:
    if arrow.decision.verdict is Verdict.ADVANCED:
        return True
    before, after = arrow.before, arrow.after
    moved = [step.status for step in before.steps] != [step.status for step in after.steps]
    return not moved and before.state is after.state


def a_duplicate_changes_nothing(arrow: Arrow) -> bool:
    kinds = {Verdict.DUPLICATE, Verdict.REFUSED, Verdict.NOTHING}
    return arrow.decision.verdict not in kinds or is_quiet(arrow)


def what_a_redelivery_owes_is_sent_again(arrow: Arrow) -> bool:
    """And nothing else comes of it, whatever it says."""
    event = arrow.event
    if not getattr(event, "redelivered", False):
        return arrow.decision.verdict is not Verdict.SEND_AGAIN
    owed = tuple(each for each in arrow.before.outbound if each.cause == event.cause)  # type: ignore[union-attr]
    sent = arrow.decision.send
    again = arrow.decision.verdict is Verdict.SEND_AGAIN
    return again and sent == owed and arrow.after == arrow.before


def a_message_counts_once(arrow: Arrow) -> bool:
    """Redelivered at once, what it has brought about is sent again, and nothing moves."""
    if arrow.decision.verdict is not Verdict.ADVANCED or not isinstance(
        arrow.event, StepCompleted | StepFailed
    ):
        return True
    again = arrow.rules.decide(
        arrow.after, replace(arrow.event, redelivered=True), now=NOON, delay=pause
    )
    owed = tuple(each for each in arrow.after.outbound if each.cause == arrow.event.cause)
    if owed:
        return again.verdict is Verdict.SEND_AGAIN and again.send == owed
    return [step.status for step in again.saga.steps] == [step.status for step in arrow.after.steps]


def _attempts(step: Step) -> tuple[int, int]:
    return step.attempts, step.compensation_attempts


MESSAGE_LAWS = (
    what_is_sent_is_owed,
    what_is_owed_is_not_forgotten,
    what_is_confirmed_is_settled,
    a_deadline_counts_from_the_sending,
    what_came_back_is_sent_again,
    commands_say_what_the_plan_says,
    commands_carry_what_is_known,
    what_moves_is_sent,
    an_end_is_announced,
    an_exhausted_compensation_is_announced,
    only_an_advance_moves_steps,
    a_duplicate_changes_nothing,
    what_a_redelivery_owes_is_sent_again,
    a_message_counts_once,
)
