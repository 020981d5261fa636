"""Each cell of the table: what a step does with each reply, and when its deadline passes."""

from collections.abc import Callable

import pytest
from saga_situations import (
    compensated,
    compensation_failed,
    completed,
    executing,
    failed,
    failed_with_unknown_effect,
    pending,
)
from saga_stories import TIMEOUT, TWICE, Story, step

from orchestrator.saga.decide import COLUMNS, TABLE
from orchestrator.saga.plan import OnTimeout
from orchestrator.saga.state import SagaState, StepStatus, Verdict

Say = Callable[[Story], None]
COMPLETED: Say = lambda story: story.completed("a", {"hold": "h-2"})  # noqa: E731
FAILED: Say = lambda story: story.failed("a", "out of stock")  # noqa: E731
UNDONE: Say = lambda story: story.undone("a")  # noqa: E731
NOT_UNDONE: Say = lambda story: story.not_undone("a")  # noqa: E731


OUT_OF_SEQUENCE = [
    *((pending, say) for say in (COMPLETED, FAILED, UNDONE, NOT_UNDONE)),
    *((make, say) for make in (executing, completed, failed) for say in (UNDONE, NOT_UNDONE)),
    *((failed_with_unknown_effect, say) for say in (UNDONE, NOT_UNDONE)),
]
DUPLICATES = [
    (completed, COMPLETED),
    (failed, FAILED),
    (compensated, FAILED),
    (compensated, UNDONE),
    (compensated, NOT_UNDONE),
    (compensation_failed, COMPLETED),
    (compensation_failed, FAILED),
    (compensation_failed, NOT_UNDONE),
]


def test_the_table_has_a_row_for_each_status_and_a_column_for_each_reply() -> None:
    assert set(TABLE) == set(StepStatus)
    assert {len(row) for row in TABLE.values()} == {len(COLUMNS) + 1}


@pytest.mark.parametrize(("make", "say"), OUT_OF_SEQUENCE)
def test_a_reply_out_of_sequence_is_kept_and_not_acted_on(
    make: Callable[[], Story], say: Say
) -> None:
    story = make()
    say(story)
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE
    assert story.last.late == "out_of_sequence"
    assert [line.note for line in story.last.transitions] == [
        f"out of sequence: {type(story.event).__name__}"
    ]
    assert story.saga.steps == story.before.steps
    assert story.saga.outbound == story.before.outbound


def test_a_reply_for_a_step_that_the_saga_does_not_have_is_out_of_sequence() -> None:
    story = executing()
    story.completed("nothing")
    assert story.last.verdict is Verdict.OUT_OF_SEQUENCE
    assert story.saga.steps == story.before.steps


@pytest.mark.parametrize(("make", "say"), DUPLICATES)
def test_a_duplicate_is_only_counted(make: Callable[[], Story], say: Say) -> None:
    story = make()
    say(story)
    assert story.last.verdict is Verdict.DUPLICATE
    assert story.last.late == "duplicate"
    assert story.is_unchanged


# --- executing -------------------------------------------------------------------------


def test_executing_and_completed_the_result_is_merged_and_the_next_step_begins() -> None:
    story = executing()
    story.completed("a", {"hold": "h-1"})
    assert story.notes == [
        "a: executing -> completed",
        "saga: started -> pending",
        "z: pending -> executing",
    ]
    assert story.saga.data == {"order_id": "42", "hold": "h-1"}
    assert story.sent == ["do z"]


def test_executing_and_the_last_one_completed_the_saga_has_completed() -> None:
    story = Story("a")
    story.completed("a", {"hold": "h-1"})
    assert story.state is SagaState.COMPLETED
    assert story.sent == ["OrderCompleted"]
    assert story.body() == {"order_id": "42", "hold": "h-1", "saga_id": "saga-1"}


def test_executing_and_failed_the_saga_turns_back() -> None:
    story = completed()
    story.failed("z", "out of stock")
    assert story.status("z") is StepStatus.FAILED
    assert story.state is SagaState.COMPENSATING
    assert story.sent == ["undo a"]


def test_executing_and_failed_retryable_with_attempts_left_it_is_tried_again_after_a_pause() -> (
    None
):
    story = Story(step("a", retry=TWICE))
    story.failed("a", "busy", retryable=True)
    assert story.status("a") is StepStatus.EXECUTING
    assert story.sent == []
    assert story.saga.wake_at == story.now + TWICE.initial
    story.time_passes()
    assert story.sent == ["do a"]
    assert story.step("a").attempts == 2


def test_executing_and_failed_retryable_without_attempts_left_it_has_failed() -> None:
    story = Story(step("a", retry=TWICE))
    story.failed("a", retryable=True)
    story.time_passes()
    story.failed("a", retryable=True)
    assert story.state is SagaState.FAILED


def test_executing_and_failed_for_good_attempts_that_are_left_are_not_used() -> None:
    story = Story(step("a", retry=TWICE))
    story.failed("a", retryable=False)
    assert story.state is SagaState.FAILED


def test_executing_and_an_older_attempt_failed_it_is_only_counted() -> None:
    story = Story(step("a", retry=TWICE, on_timeout=OnTimeout.RESEND))
    story.time_passes()
    story.failed("a", attempt=1)
    assert story.last.late == "stale_attempt"
    assert story.is_unchanged


def test_executing_and_an_older_attempt_completed_the_step_has_completed() -> None:
    story = Story(step("a", retry=TWICE, on_timeout=OnTimeout.RESEND))
    story.time_passes()
    story.completed("a", attempt=1)
    assert story.state is SagaState.COMPLETED


def test_waiting_for_its_next_attempt_a_failure_is_only_counted() -> None:
    story = Story(step("a", retry=TWICE))
    story.failed("a", retryable=True)
    story.failed("a", retryable=True)
    assert story.last.late == "stale_attempt"
    assert story.is_unchanged


def test_waiting_for_its_next_attempt_a_success_completes_it() -> None:
    story = Story(step("a", retry=TWICE))
    story.failed("a", retryable=True)
    story.completed("a")
    assert story.state is SagaState.COMPLETED


def test_executing_and_its_deadline_passes_it_has_failed_and_is_compensated_first() -> None:
    story = completed()
    story.time_passes()
    assert story.step("z").effect_unknown
    assert story.sent == ["undo z"]
    assert story.body()["original_result"] is None
    assert story.status("a") is StepStatus.COMPLETED
    story.undone("z")
    assert story.sent == ["undo a"]


def test_executing_and_its_deadline_passes_it_is_sent_again_if_it_resends() -> None:
    story = Story(step("a", retry=TWICE, on_timeout=OnTimeout.RESEND))
    story.time_passes()
    assert story.sent == ["do a"]
    assert story.notes == ["a: executing (timed out)", "a: executing (sent again)"]
    assert story.step("a").effect_unknown
    story.time_passes()  # nobody has confirmed the sending: it is sent again
    assert story.sent == ["do a"]
    story.time_passes(until=story.step("a").deadline)
    assert story.sent == ["undo a"]


def test_before_its_deadline_nothing_times_out() -> None:
    story = executing()
    story.time_passes(until=story.now + TIMEOUT / 2)
    assert story.is_unchanged
    assert story.last.verdict is Verdict.NOTHING


def test_what_timed_out_once_stays_unknown_whatever_a_later_attempt_says() -> None:
    story = Story(step("a", retry=TWICE, on_timeout=OnTimeout.RESEND))
    story.time_passes()
    story.failed("a", "out of stock")
    assert story.sent == ["undo a"]


# --- completed, failed -----------------------------------------------------------------


def test_completed_and_then_failed_is_a_conflict_and_the_first_answer_counts() -> None:
    story = completed()
    story.failed("a", "changed my mind")
    assert story.last.verdict is Verdict.NOTED
    assert story.last.late == "conflict"
    assert story.last.transitions[0].error == "changed my mind"
    assert story.status("a") is StepStatus.COMPLETED


def test_failed_and_then_completed_it_is_compensated_at_once() -> None:
    story = failed()
    story.completed("a", {"hold": "h-1"})
    assert story.last.late == "late_success"
    assert story.sent == ["undo a"]
    assert story.body()["original_result"] == {"hold": "h-1"}


def test_failed_with_unknown_effect_and_then_completed_its_compensation_carries_the_result() -> (
    None
):
    story = failed_with_unknown_effect()
    story.completed("a", {"hold": "h-1"})
    assert story.last.verdict is Verdict.NOTED
    assert story.last.late == "late_success"
    assert story.sent == []
    story.failed("b")
    assert story.sent == ["undo a"]
    assert story.body()["original_result"] == {"hold": "h-1"}


def test_failed_with_unknown_effect_what_the_participant_says_then_is_kept() -> None:
    story = failed_with_unknown_effect()
    story.failed("a", "out of stock")
    assert story.last.verdict is Verdict.NOTED
    assert story.last.transitions[0].error == "out of stock"
    story.failed("b")
    assert story.sent == ["undo a"]


def test_failed_with_unknown_effect_the_same_failure_again_is_a_duplicate() -> None:
    story = failed_with_unknown_effect()
    story.failed("a", "connection lost")
    assert story.last.verdict is Verdict.DUPLICATE
