"""The point of no return: behind it nothing is compensated, and a person moves what is stuck."""

import pytest
from saga_stories import TWICE, Story, past_pivot, step

from orchestrator.saga.plan import OnTimeout
from orchestrator.saga.state import SagaState, StepStatus, Verdict

SEALED = step("pivot", undo=False, pivot=True)


def maybe_passed() -> Story:
    """The pivot has timed out, and nothing could undo it."""
    story = Story("a", step("pivot", undo=False, pivot=True, retry=TWICE))
    story.completed("a")
    story.failed("pivot", "connection lost", effect_unknown=True)
    return story


def exhausted_pivot() -> Story:
    story = maybe_passed()
    story.time_passes()
    story.sent_by_clock()
    story.failed("pivot")
    return story


def test_a_pivot_that_fails_without_effect_turns_the_saga_back() -> None:
    story = Story("a", SEALED, step("b", undo=False))
    story.completed("a")
    story.failed("pivot")
    assert story.sent == ["undo a"]


def test_past_the_pivot_a_failure_is_tried_again_with_backoff_even_if_not_retryable() -> None:
    story = past_pivot(step("b", undo=False, retry=TWICE))
    story.failed("b", retryable=False)
    assert story.status("b") is StepStatus.EXECUTING
    assert story.step("b").retry_at == story.now + TWICE.initial
    story.time_passes()
    assert story.sent == ["do b"]


def test_past_the_pivot_exhausted_retries_call_a_person_and_nothing_is_compensated() -> None:
    story = past_pivot(step("b", undo=False, retry=TWICE), step("c", undo=False))
    story.failed("b")
    story.time_passes()
    story.failed("b", "mailbox full")
    assert story.status("b") is StepStatus.FAILED
    assert story.state is SagaState.PENDING
    assert story.sent == ["letter forward_exhausted b"]
    assert story.last.send[0].destination == "forward"
    assert story.last.send[0].error == "mailbox full"
    assert story.body()["step_name"] == "b"
    assert story.status("a") is StepStatus.COMPLETED
    assert story.saga.wake_at is None


def test_past_the_pivot_a_timeout_is_sent_again_while_attempts_are_left() -> None:
    story = past_pivot(step("b", undo=False, retry=TWICE, on_timeout=OnTimeout.RESEND))
    story.time_passes()
    assert story.sent == ["do b"]
    story.sent_by_clock()
    story.time_passes()
    assert story.sent == ["letter forward_exhausted b"]


def test_past_the_pivot_the_other_steps_of_a_stage_go_on_when_one_is_exhausted() -> None:
    story = past_pivot([step("b", undo=False), step("c", undo=False, retry=TWICE)])
    story.failed("b")
    story.failed("c")
    story.time_passes()
    assert "do c" in story.sent
    story.completed("c")
    assert story.state is SagaState.PENDING
    story.resolved("b", {"sent": True})
    assert story.state is SagaState.COMPLETED


def test_past_the_pivot_a_cancel_is_refused() -> None:
    story = past_pivot(step("b", undo=False))
    story.cancelled()
    assert story.last.verdict is Verdict.REFUSED
    assert story.last.refusal == "saga saga-1 is past its pivot and can only go forward"
    assert story.is_unchanged


def test_a_cancel_that_the_pivot_overtakes_is_dropped_and_the_saga_goes_on() -> None:
    story = Story("a", SEALED, step("b", undo=False))
    story.completed("a")
    story.cancelled()
    story.completed("pivot")
    assert story.sent == ["do b"]
    assert story.saga.cancel_reason is None
    assert "saga: pending (cancel overtaken by the pivot)" in story.notes


def test_a_cancel_is_kept_if_the_pivot_fails_without_effect() -> None:
    story = Story("a", SEALED)
    story.completed("a")
    story.cancelled()
    story.failed("pivot")
    assert story.sent == ["undo a"]


# --- a pivot that may have happened, and has no compensation -----------------------------


def test_a_pivot_of_unknown_effect_that_cannot_be_undone_is_tried_again() -> None:
    story = maybe_passed()
    assert (story.state, story.status("pivot")) == (SagaState.PENDING, StepStatus.EXECUTING)
    story.time_passes()
    assert story.sent == ["do pivot"]
    story.completed("pivot")
    assert story.state is SagaState.COMPLETED


def test_a_pivot_of_unknown_effect_is_not_turned_back_by_a_failure_without_effect() -> None:
    story = exhausted_pivot()
    assert story.sent == ["letter forward_exhausted pivot"]
    assert (story.state, story.status("a")) == (SagaState.PENDING, StepStatus.COMPLETED)


def test_a_cancel_is_refused_while_the_pivot_may_have_happened() -> None:
    for story in (maybe_passed(), exhausted_pivot()):
        story.cancelled()
        assert story.last.verdict is Verdict.REFUSED
        assert story.is_unchanged


def test_a_pivot_whose_effect_becomes_unknown_overtakes_a_cancel() -> None:
    story = Story("a", step("pivot", undo=False, pivot=True, retry=TWICE))
    story.completed("a")
    story.cancelled()
    story.time_passes()
    assert story.saga.cancel_reason is None
    assert story.sent == ["do pivot"]
    assert story.state is SagaState.PENDING


def test_a_pivot_retried_by_hand_has_its_whole_budget_again() -> None:
    story = exhausted_pivot()
    story.retried("pivot")
    assert story.sent == ["do pivot"]
    story.failed("pivot", retryable=True)
    assert story.status("pivot") is StepStatus.EXECUTING
    story.time_passes()
    story.completed("pivot")
    assert story.state is SagaState.COMPLETED


def test_a_pivot_that_can_be_undone_is_undone_first_when_its_effect_is_unknown() -> None:
    story = Story("a", step("pivot", pivot=True))
    story.completed("a")
    story.time_passes()
    assert story.sent == ["undo pivot"]


@pytest.mark.parametrize("undo", [True, False])
def test_a_late_success_of_the_pivot_while_the_saga_is_undone(undo: bool) -> None:
    """It is undone as well; if nothing can undo it, a person is told."""
    story = Story("a", step("pivot", undo=undo, pivot=True))
    story.completed("a")
    story.failed("pivot")
    story.completed("pivot")
    assert story.sent == (["undo pivot"] if undo else ["letter late_success pivot"])
    assert story.status("a") is StepStatus.COMPENSATING
