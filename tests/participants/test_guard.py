"""The guard's rules, as a table, and the stories that they must tell together."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from messaging.contract import Command, Direction, Effect, Reply, ReplyType, command_id_for
from participants.guard import (
    Bury,
    Entry,
    Execute,
    Refuse,
    Repeat,
    State,
    Verdict,
    Wait,
    addressed,
    buried,
    definite,
    entry_after,
    final_reply_to,
    reply_to,
    verdict_on,
)
from participants.outcome import AlreadyUndone, Broken, Completed, Failed, Later, Unsendable

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
DONE = Reply(type=ReplyType.STEP_COMPLETED, saga_id="s", step_name="a", result={"n": 1})
UNDONE = Reply(type=ReplyType.COMPENSATION_COMPLETED, saga_id="s", step_name="a")


def command(direction: Direction, attempt: int = 1) -> Command:
    return Command(
        saga_id="s",
        saga_type="T",
        step_name="a",
        direction=direction,
        destination="TestService.Act",
        command_id=command_id_for("s", "a", direction),
        attempt=attempt,
        data={},
    )


@pytest.mark.parametrize(
    ("state", "on_action", "on_compensation"),
    [
        (None, Execute(), Bury()),
        (State.DONE, Repeat(DONE), Execute()),
        (State.FAILED, Repeat(DONE), Bury()),
        (State.UNKNOWN, Repeat(DONE), Execute()),
        (State.LATER, Wait(), Execute()),
        (State.COMPENSATING, Refuse(), Wait()),
        (State.COMPENSATED, Refuse(), Repeat(UNDONE)),
        (State.TOMBSTONE, Refuse(), Repeat(UNDONE)),
    ],
)
def test_what_a_command_meets_decides(
    state: State | None, on_action: Verdict, on_compensation: Verdict
) -> None:
    entry = state and Entry(state=state, action_reply=DONE, compensation_reply=UNDONE)
    assert verdict_on(ACTION, entry or None) == on_action
    assert verdict_on(COMPENSATION, entry or None) == on_compensation


def test_an_action_that_was_cut_off_is_executed_again() -> None:
    assert verdict_on(ACTION, Entry(state=State.UNKNOWN)) == Execute()


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Completed(), State.DONE),
        (Later(), State.LATER),
        (Failed(error="no"), State.FAILED),
        (Failed(error="no", retryable=False), State.FAILED),
        (Failed(error="no", retryable=True), None),
        (Failed(error="?", effect=Effect.UNKNOWN), State.UNKNOWN),
        (Failed(error="?", retryable=True, effect=Effect.UNKNOWN), State.UNKNOWN),
    ],
)
def test_what_an_action_leaves(outcome: Completed | Later | Failed, state: State | None) -> None:
    after = entry_after(ACTION, None, outcome, DONE)
    assert (after and after.state) == state


def test_a_failure_that_may_be_tried_again_keeps_no_reply() -> None:
    failed = Failed(error="?", retryable=True, effect=Effect.UNKNOWN)
    assert entry_after(ACTION, None, failed, DONE) == Entry(state=State.UNKNOWN)


def test_a_failure_that_may_be_tried_again_is_kept_for_its_attempt() -> None:
    """The saga may have given up: a copy of the command must not succeed behind its back."""
    failed = Failed(error="busy", retryable=True)
    busy = final_reply_to(command(ACTION), failed)
    after = entry_after(ACTION, None, failed, busy, attempt=2)
    assert after == Entry(state=State.FAILED, action_reply=replace(busy, attempt=2))
    assert [verdict_on(ACTION, after, attempt=attempt) for attempt in (1, 2, 3)] == [
        Repeat(replace(busy, attempt=2)),
        Repeat(replace(busy, attempt=2)),
        Execute(),
    ]
    assert verdict_on(COMPENSATION, after) == Bury()


def test_a_compensation_keeps_what_the_action_said() -> None:
    before = Entry(state=State.DONE, action_reply=DONE)
    after = entry_after(COMPENSATION, before, AlreadyUndone(), UNDONE)
    assert after == Entry(state=State.COMPENSATED, action_reply=DONE, compensation_reply=UNDONE)


def test_a_failed_compensation_leaves_no_trace() -> None:
    before = Entry(state=State.DONE, action_reply=DONE)
    assert entry_after(COMPENSATION, before, Failed(error="no"), UNDONE) is None


def test_a_broken_action_is_answered_as_retryable_with_unknown_effect() -> None:
    broken = Broken(error="KeyError: 'x'", cause=KeyError("x"))
    failed = definite(broken, ACTION, is_contained=True)
    assert failed == Failed(error="KeyError: 'x'", retryable=True, effect=Effect.UNKNOWN)


@pytest.mark.parametrize(("is_contained", "effect"), [(True, Effect.NONE), (False, Effect.UNKNOWN)])
def test_an_unsendable_result_left_nothing_only_if_it_was_contained(
    is_contained: bool, effect: Effect
) -> None:
    failed = definite(Unsendable(error="too large"), ACTION, is_contained=is_contained)
    assert failed == Failed(error="too large", retryable=False, effect=effect)


def test_an_action_without_a_result_answers_an_empty_one() -> None:
    assert final_reply_to(command(ACTION), Completed()).result == {}


def test_a_compensation_does_not_speak_of_effects() -> None:
    failed = Failed(error="no", effect=Effect.UNKNOWN)
    reply = final_reply_to(command(COMPENSATION), failed)
    assert (reply.type, reply.effect) == (ReplyType.COMPENSATION_FAILED, Effect.NONE)


def test_nothing_is_said_now_if_the_answer_comes_later() -> None:
    assert reply_to(command(ACTION), Later()) is None


def test_a_stored_reply_is_addressed_to_the_attempt_that_asks() -> None:
    asked = command(ACTION, attempt=3)
    reply = addressed(DONE, asked, "00-trace")
    assert (reply.attempt, reply.command_id, reply.traceparent) == (3, asked.command_id, "00-trace")


ACTION_OUTCOMES = [Completed(), Failed(error="no"), Failed(error="again", retryable=True), Later()]
COMPENSATION_OUTCOMES = [Completed(), AlreadyUndone(), Failed(error="no"), Later()]
MOVES = [
    *((ACTION, outcome) for outcome in ACTION_OUTCOMES),
    *((COMPENSATION, outcome) for outcome in COMPENSATION_OUTCOMES),
]


def effects_of(
    story: Sequence[tuple[Direction, Completed | AlreadyUndone | Failed | Later]],
) -> list[str]:
    """Walk a story of commands through the rules; what the handlers did, in order."""
    entry: Entry | None = None
    effects: list[str] = []
    for direction, outcome in story:
        verdict = verdict_on(direction, entry)
        if isinstance(verdict, Bury):
            entry = buried(entry, UNDONE)
        if not isinstance(verdict, Execute):
            continue
        reply = reply_to(command(direction), outcome)
        entry = entry_after(direction, entry, outcome, reply) or entry
        if not isinstance(outcome, Failed):
            effects.append("do" if direction is ACTION else "undo")
    return effects


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_no_order_of_commands_does_a_thing_twice_or_after_it_was_undone(length: int) -> None:
    for story in itertools.product(MOVES, repeat=length):
        assert effects_of(story) in ([], ["do"], ["do", "undo"]), story
