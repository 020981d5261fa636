"""What people may ask for: a retry, a resolution by hand; and what is refused, and why."""

from saga_stories import NOON, TWICE, Story, halted, past_pivot, step

from orchestrator.saga.moves import MAX_DATA_BYTES
from orchestrator.saga.plan import OnTimeout
from orchestrator.saga.state import SagaState, StepStatus, Verdict


def exhausted() -> Story:
    """A step past the pivot."""
    story = past_pivot(step("b", undo=False, retry=TWICE), step("c", undo=False))
    story.failed("b")
    story.time_passes()
    story.sent_by_clock()
    story.failed("b")
    return story


def test_a_compensation_retried_by_hand_is_sent_with_a_fresh_budget() -> None:
    story = halted()
    story.retried("a")
    assert story.sent == ["undo a"]
    assert story.status("a") is StepStatus.COMPENSATING
    assert story.last.transitions[0].note == "retried by hand: mended"
    assert story.last.transitions[0].actor == "anna"
    story.not_undone("a")
    assert story.status("a") is StepStatus.COMPENSATING
    story.time_passes()
    story.not_undone("a")
    assert story.status("a") is StepStatus.COMPENSATION_FAILED


def test_what_is_asked_for_by_hand_is_sent_by_the_clock_at_once() -> None:
    story = halted()
    story.retried("a")
    assert story.saga.wake_at == story.now
    story.time_passes()
    assert story.sent == ["undo a"]
    story.sent_by_clock()
    assert story.owed == []
    story.undone("a")
    assert story.state is SagaState.FAILED


def test_a_compensation_resolved_by_hand_moves_the_saga_on_and_is_announced() -> None:
    story = Story("a", "b", "c")
    story.completed("a")
    story.completed("b")
    story.failed("c")
    story.not_undone("b", retryable=False)
    story.resolved("b")
    assert story.status("b") is StepStatus.COMPENSATED
    assert story.sent == ["SagaInterventionResolved", "undo a"]
    assert story.body() == {
        "saga_id": "saga-1",
        "saga_type": "Order",
        "step_name": "b",
        "by": "anna",
        "reason": "done by hand",
    }


def test_the_last_compensation_resolved_by_hand_lets_the_saga_fail() -> None:
    story = halted()
    story.resolved("a")
    assert story.state is SagaState.FAILED
    assert "OrderFailed" in story.sent


def test_an_exhausted_step_past_the_pivot_is_retried_by_hand() -> None:
    story = exhausted()
    story.retried("b")
    assert story.sent == ["do b"]
    story.completed("b")
    assert story.sent == ["do c"]


def test_an_exhausted_step_past_the_pivot_is_done_by_hand_with_its_result() -> None:
    story = exhausted()
    story.resolved("b", {"ticket": 7})
    assert story.status("b") is StepStatus.COMPLETED
    assert story.saga.data["ticket"] == 7
    assert story.sent == ["SagaInterventionResolved", "do c"]


def test_a_result_by_hand_may_be_left_out() -> None:
    story = exhausted()
    story.resolved("b")
    assert story.step("b").result == {}


def test_a_result_by_hand_that_makes_the_data_too_large_is_refused() -> None:
    story = exhausted()
    story.resolved("b", {"x": "x" * MAX_DATA_BYTES})
    assert story.last.verdict is Verdict.REFUSED
    assert story.is_unchanged


def test_a_step_that_waits_for_its_next_attempt_is_tried_at_once() -> None:
    story = Story(step("a", retry=TWICE))
    story.failed("a", retryable=True)
    story.retried("a")
    assert story.sent == ["do a"]
    assert story.saga.wake_at == NOON


def test_attempts_forgiven_by_hand_do_not_lengthen_the_compensation() -> None:
    story = Story(step("a", retry=TWICE), "b")
    story.failed("a", retryable=True)
    story.retried("a")
    story.completed("a")
    story.failed("b")
    story.not_undone("a")
    assert story.step("a").retry_at == story.now + TWICE.initial
    story.time_passes()
    story.not_undone("a")
    assert story.status("a") is StepStatus.COMPENSATION_FAILED


def test_nothing_else_can_be_retried() -> None:
    story = Story("a", "b")
    for name, status in (("a", "executing"), ("b", "pending")):
        story.retried(name)
        assert story.last.refusal == f"step {name} is {status} and owes no retry"
        assert story.is_unchanged


def test_nothing_else_can_be_resolved() -> None:
    story = Story("a", "b")
    story.resolved("a")
    told = (
        "step a is executing; it is tried by itself now, and can be resolved when that has failed"
    )
    assert story.last.refusal == told
    story.completed("a")
    story.resolved("a")
    assert story.last.refusal == "step a is completed; there is nothing to resolve"
    assert story.is_unchanged


def test_a_failed_step_of_a_saga_that_is_undone_cannot_be_resolved() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.failed("b")
    story.resolved("b")
    assert story.last.verdict is Verdict.REFUSED


def test_an_unknown_step_is_refused_with_the_names_of_those_that_exist() -> None:
    story = Story("a", "b")
    for ask in (story.retried, story.resolved):
        ask("c")
        assert story.last.refusal == "saga saga-1 has no step 'c'; its steps are: a, b"


def test_a_timeout_after_a_retry_by_hand_counts_anew() -> None:
    story = Story(step("a", retry=TWICE, on_timeout=OnTimeout.RESEND))
    story.failed("a", retryable=True)
    story.retried("a")
    story.sent_by_clock()
    story.time_passes()
    assert story.sent == ["do a"]
    assert story.step("a").attempts == 3
