"""What is left over of a life that the database has lost: replies, confirms, letters."""

from dataclasses import replace
from typing import Any

import pytest
from saga_stories import ONCE, Story, halted, past_pivot, pause, step
from test_in_doubt import PIVOT, in_doubt, in_epoch, under_way

from orchestrator.saga.decide import decide
from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.requests import LossJudged
from orchestrator.saga.start import begin
from orchestrator.saga.state import (
    Published,
    Saga,
    SagaState,
    StepCompleted,
    StepStatus,
    Verdict,
)


def unplanned(*epochs: str) -> Story:
    """It is asked for through the database, and no worker has been there yet."""
    story = in_epoch(Story("a", "b"), *epochs)
    story.saga = replace(story.saga, steps=(), version=0, outbound=(), resend_at=story.now)
    return story


def planned(asked: Saga, story: Story) -> Saga:
    plan = [each.plan for each in Story("a", "b").saga.steps]
    begun = begin(asked, plan, on_exhausted=OnExhausted.HALT, now=story.now, delay=pause)
    return begun.saga


# --- who waits for a person


def test_a_person_is_called_again_for_a_compensation_whose_letter_may_be_lost() -> None:
    story = in_doubt(halted())
    assert "letter compensation_exhausted a" in story.sent
    assert story.owed.count("letter compensation_exhausted a") == 1
    assert story.body(story.sent.index("letter compensation_exhausted a"))["step_name"] == "a"


def test_a_person_is_called_again_for_a_step_past_the_pivot() -> None:
    story = past_pivot(step("b", undo=False, retry=ONCE))
    story.failed("b")
    in_doubt(story)
    assert story.sent == ["letter forward_exhausted b"]
    assert story.status("b") is StepStatus.FAILED


# --- replies that fit nothing


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_answer_to_a_compensation_of_a_lost_life_is_no_news_on_the_way_back(name: str) -> None:
    story = in_doubt(under_way())
    story.undone(name, epoch="1")
    assert (story.last.verdict, story.last.late) == (Verdict.NOTED, "stale_epoch")
    story.not_undone(name, epoch="1")
    assert (story.last.verdict, story.last.late) == (Verdict.NOTED, "stale_epoch")
    assert story.owed == ["undo c"]


def test_an_answer_of_a_step_that_is_not_undone_anyway_is_no_news_either() -> None:
    story = in_doubt(under_way("a", "b", step("c", undo=False)))
    story.completed("c", epoch="1")
    assert (story.last.verdict, story.last.late) == (Verdict.NOTED, "stale_epoch")


def test_past_the_pivot_a_later_step_that_was_done_before_is_asked_again() -> None:
    story = in_doubt(past_pivot(step("b", undo=False), step("c", undo=False)))
    story.completed("c", epoch="1")
    assert (story.last.verdict, story.last.late) == (Verdict.NOTED, "stale_epoch")
    story.completed("b", epoch="2")
    assert story.sent == ["do c"]


def test_what_was_undone_of_a_saga_that_has_failed_since_is_no_news() -> None:
    story = in_epoch(Story("a", "b"), "2")
    story.failed("a")
    story.undone("b", epoch="1")
    assert (story.last.verdict, story.last.late) == (Verdict.NOTED, "stale_epoch")
    story.not_undone("b", epoch="1")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE


def test_that_the_pivot_was_passed_is_news_to_a_saga_on_its_way_back() -> None:
    story = in_doubt(Story("a", PIVOT))
    story.completed("pivot", epoch="1")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE


def test_that_something_was_undone_is_news_to_a_saga_that_goes_forward() -> None:
    story = in_doubt(under_way("a", PIVOT))
    assert story.state is SagaState.PENDING
    story.undone("a", epoch="1")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE


def test_that_a_step_was_done_is_news_where_nobody_will_undo_it() -> None:
    story = under_way()
    story.saga = replace(story.saga, epochs=("1", "2"), in_doubt=True)
    story.happens(LossJudged(is_lost=False, reason="planned", actor="anna"))
    story.completed("c", epoch="1")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE


def test_where_nothing_can_be_lost_what_fits_nothing_is_news() -> None:
    story = in_epoch(under_way(), "1")
    story.undone("a", epoch="1")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE


# --- commands of another life


def test_a_command_of_a_lost_life_puts_the_saga_in_doubt_although_its_step_is_of_this_one() -> None:
    story = in_epoch(under_way(), "2")
    story.undone("a", epoch="2 1")
    assert story.last.late == "stale_epoch"
    assert story.state is SagaState.COMPENSATING
    assert story.saga.epochs == ("1", "2")


def test_both_epochs_of_a_reply_may_be_known() -> None:
    story = in_epoch(under_way(), "1", "2")
    story.completed("b", epoch="1 2")
    assert story.status("b") is StepStatus.COMPLETED


# --- a saga without a plan


@pytest.mark.parametrize("epochs", [(), ("1",)])
def test_an_answer_to_a_saga_that_has_asked_nobody_yet_is_only_counted(epochs: Any) -> None:
    story = unplanned(*epochs)
    story.completed("a", epoch="1")
    assert story.is_unchanged
    assert story.last.late == "stale_epoch"


def test_an_effect_of_a_saga_that_was_called_off_before_its_plan_is_news() -> None:
    story = unplanned("2")
    story.cancelled()
    assert story.state is SagaState.FAILED
    story.undone("a", epoch="1")
    assert story.last.late == "stale_epoch"
    story.completed("a", epoch="1")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE


def test_a_plan_knows_nothing_of_an_epoch_in_which_its_saga_only_stood_in_line() -> None:
    story = unplanned("1", "2")
    again = planned(story.saga, story)
    proof = StepCompleted(step="a", epoch="1", cause="m1")
    told = decide(again, proof, now=story.now, delay=pause)
    assert told.late == "stale_epoch"
    assert told.saga.state is SagaState.COMPENSATING


# --- confirms


def test_what_was_published_in_a_lost_life_does_not_settle_what_is_owed_in_this_one() -> None:
    story = in_epoch(Story("a", "b", by_clock=True), "2")
    owed = story.owed
    story.happens(Published(version=story.saga.version, epoch="1"))
    assert story.owed == owed
    story.happens(Published(version=story.saga.version, epoch="2"))
    assert story.owed == []


def test_a_command_that_came_back_in_a_lost_life_says_nothing_of_this_one() -> None:
    story = in_epoch(under_way(), "2")
    story.happens(Published(version=None, unroutable=frozenset({"b"}), epoch="1"))
    assert story.is_unchanged


@pytest.mark.parametrize("version", [None, 0])
def test_a_saga_without_a_plan_is_still_planned_after_a_confirm(version: int | None) -> None:
    story = unplanned()
    story.happens(Published(version=version, unroutable=frozenset({"a"})))
    assert story.is_unchanged
    assert story.saga.wake_at == story.now
