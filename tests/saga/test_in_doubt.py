"""A saga whose row was written in another life of the database, and replies out of that life."""

from dataclasses import replace
from typing import Any

import pytest
from saga_stories import TWICE, Story, halted, past_pivot, step

from orchestrator.saga.requests import ReopenRequested
from orchestrator.saga.state import (
    CompensationCompleted,
    SagaState,
    StepStatus,
    TimeReached,
    Verdict,
)

PIVOT = step("pivot", undo=False, pivot=True)


def in_doubt(story: Story) -> Story:
    """The database has lost its last commits; the clock comes by."""
    story.saga = replace(story.saga, epochs=("1", "2"), in_doubt=True)
    story.happens(TimeReached())
    return story


def in_epoch(story: Story, *epochs: str) -> Story:
    story.saga = replace(story.saga, epochs=epochs)
    return story


def under_way(*stages: Any) -> Story:
    """Its first step is done, its second is asked for."""
    story = Story(*(stages or ("a", "b", "c")))
    story.completed("a")
    return story


def test_a_saga_in_doubt_compensates_all_its_steps_from_the_last_even_those_never_begun() -> None:
    story = in_doubt(under_way())
    assert story.sent == ["undo c"]
    for name in ("c", "b", "a"):
        assert story.owed == [f"undo {name}"]
        story.undone(name)
    assert story.state is SagaState.FAILED
    assert story.owed == ["OrderFailed"]


def test_a_step_without_compensation_is_left_alone() -> None:
    story = in_doubt(under_way("a", step("b", undo=False), step("c", undo=False)))
    assert story.sent == ["undo a"]
    assert story.status("b") is StepStatus.FAILED
    assert story.status("c") is StepStatus.PENDING


def test_the_doubt_is_told_in_the_history_and_as_the_first_failure() -> None:
    story = in_doubt(under_way())
    assert story.notes[0] == "saga: pending (in doubt)"
    assert story.notes[1:3] == [
        "b: executing -> failed (in doubt)",
        "c: pending -> failed (in doubt)",
    ]
    assert story.failure is not None
    assert story.failure.step is None
    assert "lost its last commits" in story.failure.error


def test_a_doubt_is_settled_once() -> None:
    story = in_doubt(under_way())
    assert not story.saga.in_doubt
    story.sent_by_clock()
    story.happens(TimeReached())
    assert story.is_unchanged


def test_a_cancelled_saga_in_doubt_names_the_cancel_as_its_failure() -> None:
    story = under_way()
    story.cancelled()
    in_doubt(story)
    assert story.failure is not None
    assert "called off" in story.failure.error


def test_past_its_pivot_a_saga_in_doubt_asks_again_and_goes_on() -> None:
    story = in_doubt(past_pivot(step("b", undo=False)))
    assert story.sent == ["do b"]
    assert story.step("b").attempts == 2
    story.completed("b", epoch="2")
    assert story.state is SagaState.COMPLETED


def test_asking_again_costs_no_attempt() -> None:
    story = in_doubt(past_pivot(step("b", undo=False, retry=TWICE)))
    story.failed("b", epoch="2")
    assert story.status("b") is StepStatus.EXECUTING
    assert story.step("b").retry_at is not None


def test_a_pivot_under_way_that_cannot_be_undone_goes_forward_and_a_person_is_told() -> None:
    story = in_doubt(under_way("a", PIVOT, step("b", undo=False)))
    assert story.sent == ["do pivot", "letter in_doubt None"]
    assert story.state is SagaState.PENDING
    assert story.last.send[1].destination == "late_success"


def test_before_its_pivot_a_saga_in_doubt_goes_back_and_a_person_is_told_to_look() -> None:
    story = in_doubt(Story("a", PIVOT))
    assert story.sent == ["undo a", "letter in_doubt None"]


def test_a_pivot_with_a_compensation_is_compensated_too_and_a_person_is_told() -> None:
    story = in_doubt(Story("a", step("pivot", pivot=True)))
    assert story.sent == ["undo pivot", "letter in_doubt None"]


def test_a_saga_on_its_way_back_asks_for_its_compensation_again() -> None:
    story = under_way()
    story.failed("b")
    in_doubt(story)
    assert "undo a" in story.sent
    assert story.step("a").compensation_attempts == 2


def test_a_step_that_had_failed_without_effect_is_compensated_too() -> None:
    story = under_way()
    story.failed("b")
    in_doubt(story)
    assert "undo c" in story.sent
    story.undone("c")
    assert story.sent == ["undo b"]


def test_a_compensation_that_waits_for_a_person_still_does() -> None:
    story = in_doubt(halted())
    assert story.status("a") is StepStatus.COMPENSATION_FAILED
    assert story.state is SagaState.COMPENSATING


def test_an_ended_saga_is_never_in_doubt() -> None:
    story = Story("a")
    story.completed("a")
    before = story.saga
    in_doubt(story)
    assert story.state is SagaState.COMPLETED
    assert story.saga.version == before.version


def test_what_touches_a_saga_first_finds_it_turned_back() -> None:
    story = under_way()
    story.saga = replace(story.saga, epochs=("1", "2"), in_doubt=True)
    story.completed("b", epoch="1")
    assert story.state is SagaState.COMPENSATING
    assert story.last.must_save
    assert story.saga.wake_at == story.now  # the clock sends what the doubt owes
    assert story.owed == ["undo c"]


@pytest.mark.parametrize("name", ["a", "b", "c", "nowhere"])
def test_a_reply_of_an_epoch_that_the_saga_knows_nothing_of_puts_it_in_doubt(name: str) -> None:
    story = in_epoch(under_way(), "2")
    story.completed(name, epoch="1")
    assert story.state is SagaState.COMPENSATING
    assert story.sent == ["undo c"]
    assert story.last.late == "stale_epoch"
    assert "(stale_epoch)" in story.notes[0]


def test_a_reply_of_an_epoch_of_which_nothing_is_lost_is_believed() -> None:
    story = in_epoch(under_way(), "1", "2")
    story.completed("b", epoch="1")
    assert story.status("b") is StepStatus.COMPLETED


def test_past_the_pivot_a_reply_of_any_epoch_is_believed() -> None:
    story = in_epoch(past_pivot(step("b", undo=False)), "2")
    story.completed("b", epoch="1")
    assert story.state is SagaState.COMPLETED


def test_a_reply_that_names_no_epoch_is_believed() -> None:
    story = in_epoch(under_way(), "2")
    story.completed("b")
    assert story.status("b") is StepStatus.COMPLETED


def test_what_a_reply_of_a_lost_past_sends_comes_again_with_its_message() -> None:
    story = in_epoch(under_way(), "2")
    story.undone("a", epoch="1")
    proof = CompensationCompleted(step="a", epoch="1", cause="m2")
    story.redelivered(proof)
    assert story.last.verdict is Verdict.SEND_AGAIN
    assert story.sent == ["undo c"]


def test_on_the_way_back_replies_of_any_epoch_count() -> None:
    story = in_doubt(under_way())
    story.undone("c", epoch="1")
    assert story.status("c") is StepStatus.COMPENSATED


def test_a_late_success_of_another_epoch_still_calls_a_person() -> None:
    story = Story("a")
    story.failed("a")
    in_epoch(story, "2")
    story.completed("a", epoch="1")
    assert story.sent == ["letter late_success a"]


def test_a_failed_saga_whose_step_stands_is_opened_again_and_fails_once_more() -> None:
    story = under_way()
    story.failed("b")
    story.undone("a")
    story.happens(ReopenRequested(step="a", reason="it stands", actor="anna"))
    assert story.state is SagaState.COMPENSATING
    assert story.saga.ended_at is None
    assert "undo a" in story.owed
    story.undone("a")
    assert story.state is SagaState.FAILED
    assert story.sent == ["OrderFailed"]


@pytest.mark.parametrize("name", ["a", "nowhere"])
def test_a_saga_that_has_not_failed_is_not_opened(name: str) -> None:
    story = under_way()
    story.happens(ReopenRequested(step=name, reason="it stands", actor="anna"))
    assert story.last.verdict is Verdict.REFUSED
    assert story.is_unchanged


def test_a_step_without_compensation_is_not_opened() -> None:
    story = under_way("a", step("b", undo=False))
    story.failed("b")
    story.undone("a")
    story.happens(ReopenRequested(step="b", reason="it stands", actor="anna"))
    assert story.last.verdict is Verdict.REFUSED
