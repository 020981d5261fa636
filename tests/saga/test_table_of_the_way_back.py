"""The table's lower half: a step on its way back, undone or not, and sagas that have ended."""

from saga_situations import (
    compensated,
    compensating,
    compensating_what_timed_out,
    compensation_failed,
)
from saga_stories import TWICE, Story, past_pivot, step

from orchestrator.saga.state import SagaState, StepStatus, Verdict


def test_compensating_and_then_completed_the_next_attempt_carries_the_result() -> None:
    story = compensating_what_timed_out()
    story.completed("a", {"hold": "h-1"})
    assert story.last.late == "late_success"
    assert story.sent == []
    story.not_undone("a")
    story.time_passes()
    assert story.body()["original_result"] == {"hold": "h-1"}


def test_compensating_what_had_completed_a_success_is_a_duplicate() -> None:
    story = compensating()
    story.completed("a", {"hold": "h-2"})
    assert story.last.verdict is Verdict.DUPLICATE


def test_compensating_a_failure_of_the_action_is_kept() -> None:
    story = compensating_what_timed_out()
    story.failed("a", "out of stock")
    assert story.last.verdict is Verdict.NOTED
    assert story.status("a") is StepStatus.COMPENSATING


def test_compensating_and_compensated_the_next_one_back_begins() -> None:
    story = compensating_what_timed_out()
    story.undone("a")
    assert story.status("a") is StepStatus.COMPENSATED
    assert story.sent == ["undo first"]


def test_compensating_and_the_first_step_compensated_the_saga_has_failed() -> None:
    story = compensating()
    story.undone("a")
    assert story.state is SagaState.FAILED
    assert story.sent == ["OrderFailed"]


def test_compensating_and_failed_with_attempts_left_it_is_tried_again_after_a_pause() -> None:
    story = compensating()
    story.not_undone("a")
    assert story.status("a") is StepStatus.COMPENSATING
    assert story.saga.wake_at == story.now + TWICE.initial
    story.time_passes()
    assert story.sent == ["undo a"]
    assert story.last.send[0].attempt == 2


def test_compensating_and_an_older_attempt_failed_it_is_ignored() -> None:
    story = compensating()
    story.not_undone("a")
    story.time_passes()
    story.not_undone("a", attempt=1)
    assert story.last.late == "stale_attempt"
    assert story.is_unchanged


def test_compensating_and_failed_while_it_waits_for_its_next_attempt_it_is_ignored() -> None:
    story = compensating()
    story.not_undone("a")
    story.not_undone("a")
    assert story.is_unchanged


def test_compensating_and_failed_without_attempts_left_it_is_dead_lettered() -> None:
    story = compensating()
    story.not_undone("a", "gateway down")
    story.time_passes()
    story.not_undone("a", "gateway still down")
    assert story.status("a") is StepStatus.COMPENSATION_FAILED
    assert story.sent == ["letter compensation_exhausted a", "SagaCompensationDeadLettered"]
    letter = story.last.send[0]
    assert (letter.destination, letter.attempt) == ("compensation", 2)
    assert letter.error == "gateway still down"
    assert story.body()["original_result"] == {"hold": "h-1"}


def test_compensating_and_failed_for_good_attempts_that_are_left_are_not_used() -> None:
    story = compensating()
    story.not_undone("a", retryable=False)
    assert story.status("a") is StepStatus.COMPENSATION_FAILED


def test_compensating_and_its_deadline_passes_it_is_a_failed_attempt() -> None:
    story = compensating()
    story.time_passes()
    assert story.notes == ["a: compensating (timed out)"]
    story.time_passes()
    assert story.sent == ["undo a"]
    story.sent_by_clock()
    story.time_passes()
    assert story.status("a") is StepStatus.COMPENSATION_FAILED
    assert story.step("a").error == "no reply within 300 s"


def test_compensated_and_then_completed_it_is_kept() -> None:
    story = compensated()
    story.completed("a", {"hold": "h-1"})
    assert story.last.verdict is Verdict.NOTED
    assert story.last.late == "late_success"
    assert story.status("a") is StepStatus.COMPENSATED
    assert story.sent == []


def test_compensation_failed_and_then_compensated_the_saga_goes_on() -> None:
    story = compensation_failed()
    story.undone("a")
    assert story.status("a") is StepStatus.COMPENSATED
    assert story.state is SagaState.FAILED


# --- after the saga has ended ----------------------------------------------------------


def test_a_success_after_the_saga_has_failed_is_a_dead_letter_for_a_person() -> None:
    story = Story("a")
    story.failed("a")
    story.completed("a", {"hold": "h-1"})
    assert story.sent == ["letter late_success a"]
    assert story.body() == {"saga_id": "saga-1", "step_name": "a", "result": {"hold": "h-1"}}
    assert story.last.send[0].error == "Service.Do-a succeeded when its saga was already failed"
    assert story.state is SagaState.FAILED
    story.completed("a", {"hold": "h-1"})
    assert story.last.verdict is Verdict.DUPLICATE


def test_a_success_of_what_was_compensated_blindly_is_a_dead_letter_once_the_saga_has_ended() -> (
    None
):
    story = Story("a")
    story.time_passes()
    story.undone("a")
    assert story.state is SagaState.FAILED
    story.completed("a")
    assert story.sent == ["letter late_success a"]


def test_a_success_of_what_was_compensated_knowingly_is_a_duplicate_even_then() -> None:
    story = compensating()
    story.undone("a")
    story.completed("a")
    assert story.last.verdict is Verdict.DUPLICATE


def test_after_the_end_a_reply_out_of_sequence_is_kept() -> None:
    story = Story("a", "b")
    story.failed("a")
    story.completed("b")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE
    assert story.state is SagaState.FAILED


def test_past_the_pivot_a_success_that_comes_too_late_moves_the_saga_on() -> None:
    story = past_pivot(step("a2", undo=False))
    story.failed("a2")
    assert story.sent == ["letter forward_exhausted a2"]
    story.completed("a2")
    assert story.state is SagaState.COMPLETED
