"""Failures and cancels: what is outstanding is awaited, then all is undone in strict reverse."""

import pytest
from saga_stories import NOON, SECOND, TWICE, Story, step

from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.state import SagaState, StepStatus, Verdict


def test_compensation_runs_in_strict_reverse_one_after_the_other() -> None:
    story = Story("a", "b", "c", "d")
    for name in "abc":
        story.completed(name, {name: name.upper()})
    story.failed("d")
    undone = []
    while story.state is not SagaState.FAILED:
        assert len(story.sent) == 1
        name = story.sent[0].removeprefix("undo ")
        assert story.body()["original_result"] == {name: name.upper()}
        undone.append(name)
        story.undone(name)
    assert undone == ["c", "b", "a"]


def test_what_failed_without_effect_is_not_compensated() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.failed("b", effect_unknown=False)
    assert story.sent == ["undo a"]
    story.undone("a")
    assert story.status("b") is StepStatus.FAILED


def test_what_failed_with_unknown_effect_is_compensated_first_and_without_a_result() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.failed("b", effect_unknown=True)
    assert story.sent == ["undo b"]
    assert story.body()["original_result"] is None


def test_a_step_without_compensation_is_passed_over() -> None:
    story = Story("a", step("b", undo=False), "c")
    story.completed("a")
    story.completed("b")
    story.failed("c")
    assert story.sent == ["undo a"]


def test_if_nothing_needs_undoing_the_saga_fails_at_once() -> None:
    story = Story(step("a", undo=False), "b")
    story.completed("a")
    story.failed("b")
    assert story.state is SagaState.FAILED
    assert story.sent == ["OrderFailed"]
    assert story.saga.wake_at is None


def test_a_parallel_stage_is_undone_in_parallel() -> None:
    story = Story("a", ["b", "c"], "d")
    for name in "abc":
        story.completed(name)
    story.failed("d")
    assert story.sent == ["undo b", "undo c"]
    story.undone("b")
    assert story.sent == []
    story.undone("c")
    assert story.sent == ["undo a"]


def test_when_one_of_a_parallel_stage_fails_the_others_are_awaited_first() -> None:
    story = Story("a", ["b", "c"], "d")
    story.completed("a")
    story.failed("b")
    assert (story.state, story.sent) == (SagaState.PENDING, [])
    story.completed("c")
    assert (story.state, story.sent) == (SagaState.COMPENSATING, ["undo c"])


def test_when_one_fails_another_that_waits_for_its_next_attempt_is_not_tried_again() -> None:
    story = Story([step("a", retry=TWICE), "b"])
    story.failed("a", "busy", retryable=True)
    story.failed("b")
    assert story.status("a") is StepStatus.FAILED
    assert "a: executing -> failed (not tried again)" in story.notes
    assert story.state is SagaState.FAILED


def test_what_is_awaited_while_the_saga_turns_back_is_not_tried_again_either() -> None:
    story = Story([step("a", retry=TWICE), "b"])
    story.failed("b")
    story.failed("a", retryable=True)
    assert story.state is SagaState.FAILED


def test_one_that_times_out_keeps_another_from_being_tried_again_in_the_same_moment() -> None:
    story = Story([step("a", retry=TWICE), step("b", timeout=10 * SECOND)])
    story.now = NOON + 8 * SECOND
    story.failed("a", retryable=True)
    story.time_passes(until=NOON + 10 * SECOND)
    assert story.sent == ["undo b"]
    assert story.status("a") is StepStatus.FAILED


def test_a_sibling_that_never_answers_times_out_and_is_undone_too() -> None:
    story = Story(["a", "b"])
    story.failed("a")
    story.time_passes()
    assert story.sent == ["undo b"]


def test_the_first_failure_is_kept_for_good() -> None:
    story = Story(["a", "b"])
    story.failed("b", "out of stock")
    story.now = NOON + 5 * SECOND
    story.failed("a", "also no")
    assert story.failure is not None
    assert (story.failure.step, story.failure.error) == ("b", "out of stock")
    assert story.failure.at == NOON
    assert story.body()["failed_step"] == "b"


def test_a_late_success_is_compensated_even_while_the_saga_turns_back() -> None:
    story = Story(["a", "b"])
    story.failed("a")
    story.completed("a", {"hold": "h-1"})
    assert (story.last.late, story.sent) == ("late_success", [])
    story.failed("b")
    assert story.state is SagaState.COMPENSATING
    assert story.sent == ["undo a"]
    assert story.body()["original_result"] == {"hold": "h-1"}


def test_a_late_success_does_not_make_the_saga_go_forward_again() -> None:
    story = Story(["a", "b"], "c")
    story.failed("a")
    story.completed("a")
    story.completed("b")
    assert story.state is SagaState.COMPENSATING
    assert story.sent == ["undo a", "undo b"]


def test_a_late_success_is_compensated_while_an_earlier_step_is_being_undone() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.failed("b")
    story.completed("b")
    assert story.sent == ["undo b"]
    story.undone("a")
    assert story.state is SagaState.COMPENSATING
    story.undone("b")
    assert story.state is SagaState.FAILED


def test_a_late_success_of_an_earlier_step_waits_for_its_turn() -> None:
    story = Story(["a", "b"], data={})
    story.failed("a")
    story.completed("b")
    assert story.sent == ["undo b"]
    story.completed("a")
    assert story.sent == ["undo a"]


def test_a_halted_compensation_keeps_the_earlier_ones_waiting() -> None:
    story = Story("a", "b", "c")
    story.completed("a")
    story.completed("b")
    story.failed("c")
    story.not_undone("b", retryable=False)
    assert story.status("a") is StepStatus.COMPLETED
    assert story.state is SagaState.COMPENSATING
    assert story.saga.wake_at is None


def test_with_continue_the_earlier_ones_go_ahead_and_the_saga_waits_at_its_end() -> None:
    story = Story("a", "b", "c", on_exhausted=OnExhausted.CONTINUE)
    story.completed("a")
    story.completed("b")
    story.failed("c")
    story.not_undone("b", retryable=False)
    assert "undo a" in story.sent
    story.undone("a")
    assert story.state is SagaState.COMPENSATING
    story.resolved("b")
    assert story.state is SagaState.FAILED


def test_in_a_parallel_stage_one_halted_compensation_does_not_stop_the_other() -> None:
    story = Story("a", ["b", "c"], "d")
    for name in "abc":
        story.completed(name)
    story.failed("d")
    story.not_undone("b", retryable=False)
    story.undone("c")
    assert story.status("a") is StepStatus.COMPLETED
    story.resolved("b")
    assert story.status("a") is StepStatus.COMPENSATING


# --- cancels ---------------------------------------------------------------------------


def test_a_cancel_awaits_what_is_outstanding_and_sends_nothing_new() -> None:
    story = Story("a", "b")
    story.cancelled()
    assert (story.state, story.sent) == (SagaState.STARTED, [])
    story.completed("a")
    assert (story.state, story.sent) == (SagaState.COMPENSATING, ["undo a"])
    assert story.status("b") is StepStatus.PENDING


def test_a_cancel_is_the_first_failure_unless_there_was_one() -> None:
    story = Story("a")
    story.cancelled()
    story.completed("a")
    assert story.failure is not None
    assert (story.failure.step, story.failure.error) == (None, "cancelled by anna: called off")
    story = Story(["a", "b"])
    story.failed("a", "out of stock")
    story.cancelled()
    story.failed("b")
    assert story.failure is not None
    assert story.failure.error == "out of stock"


def test_a_cancel_waits_for_a_timeout_if_no_reply_comes() -> None:
    story = Story("a")
    story.cancelled()
    story.time_passes()
    assert story.sent == ["undo a"]


def test_a_cancel_between_attempts_turns_back_at_once() -> None:
    story = Story("a", step("b", retry=TWICE))
    story.completed("a")
    story.failed("b", retryable=True)
    story.cancelled()
    assert story.sent == ["undo a"]


def test_a_second_cancel_changes_nothing() -> None:
    story = Story("a")
    story.cancelled()
    story.cancelled()
    assert story.last.verdict is Verdict.DUPLICATE


def test_a_cancel_of_a_saga_that_is_turning_back_already_changes_nothing() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.failed("b")
    story.cancelled()
    assert story.last.verdict is Verdict.DUPLICATE


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_a_cancel_of_a_saga_that_has_ended_is_refused(outcome: str) -> None:
    story = Story("a")
    (story.completed if outcome == "completed" else story.failed)("a")
    story.cancelled()
    assert story.last.verdict is Verdict.REFUSED
    assert story.last.refusal == f"saga saga-1 has already {outcome}"
    assert story.is_unchanged
