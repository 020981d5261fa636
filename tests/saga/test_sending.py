"""What a saga owes is sent again until it has left: by redelivery of its cause, or by the clock."""

from datetime import timedelta

from saga_stories import MINUTE, NOON, SECOND, TIMEOUT, Story, halted, past_pivot, step

from orchestrator.saga.draft import SEND_GUARD
from orchestrator.saga.state import (
    Published,
    SagaState,
    StartRepeated,
    StepCompleted,
    StepStatus,
    Verdict,
)

# --- redelivery ------------------------------------------------------------------------


def test_the_redelivered_cause_of_the_last_transition_sends_again_what_it_brought_about() -> None:
    story = Story("a", "b")
    story.completed("a")
    first = story.last.send
    story.redelivered(story.event)
    assert story.last.verdict is Verdict.SEND_AGAIN
    assert story.last.send == first
    assert story.is_unchanged


def test_a_duplicate_that_is_no_redelivery_sends_nothing() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.happens(story.event)
    assert (story.last.verdict, story.sent) == (Verdict.DUPLICATE, [])


def test_a_redelivery_of_what_has_been_answered_since_sends_nothing() -> None:
    story = Story("a", "b")
    story.completed("a")
    old = story.event
    story.completed("b")
    story.redelivered(old)
    assert (story.last.verdict, story.sent) == (Verdict.DUPLICATE, [])


def test_a_redelivered_start_sends_the_first_commands_again() -> None:
    story = Story(["a", "b"])
    story.redelivered(StartRepeated(cause="m0"))
    assert (story.last.verdict, story.sent) == (Verdict.SEND_AGAIN, ["do a", "do b"])


def test_a_start_that_comes_twice_changes_nothing() -> None:
    story = Story("a")
    story.happens(StartRepeated(cause="another"))
    assert (story.last.verdict, story.sent) == (Verdict.DUPLICATE, [])


def test_a_redelivered_cancel_sends_the_compensation_again() -> None:
    story = Story("a", step("b", retry=halted().step("a").plan.compensation_retry))
    story.completed("a")
    story.failed("b", retryable=True)
    story.cancelled()
    story.redelivered(story.event)
    assert (story.last.verdict, story.sent) == (Verdict.SEND_AGAIN, ["undo a"])


def test_the_last_reply_redelivered_announces_the_outcome_again() -> None:
    story = Story("a")
    story.completed("a")
    story.redelivered(story.event)
    assert story.sent == ["OrderCompleted"]


def test_a_redelivered_late_success_tells_the_person_again() -> None:
    story = Story("a")
    story.failed("a")
    story.completed("a")
    story.redelivered(story.event)
    assert story.sent == ["letter late_success a"]


def test_a_redelivery_that_nothing_has_seen_before_is_decided_as_usual() -> None:
    story = Story("a")
    story.redelivered(StepCompleted(step="a", cause="m9"))
    assert story.state is SagaState.COMPLETED


# --- the clock -------------------------------------------------------------------------


def test_what_the_clock_sends_is_sent_again_soon_unless_it_is_confirmed() -> None:
    story = Story("a")
    story.time_passes()
    assert story.sent == ["undo a"]
    assert story.saga.wake_at == story.now + SEND_GUARD
    story.time_passes()
    assert story.sent == ["undo a"]
    story.sent_by_clock()
    assert story.owed == []


def test_once_confirmed_the_timeout_counts_from_then() -> None:
    story = Story("a")
    story.time_passes()
    story.now += 2 * SECOND
    story.sent_by_clock()
    assert story.step("a").deadline == story.now + TIMEOUT
    assert story.saga.wake_at == story.now + TIMEOUT


def test_a_confirmation_of_an_older_version_settles_nothing() -> None:
    story = Story(["a", "b"])
    story.time_passes(until=NOON + TIMEOUT)
    version = story.saga.version
    story.undone("a")
    story.happens(Published(version=version))
    assert story.owed == ["undo b"]
    assert story.last.verdict is Verdict.NOTHING


def test_a_saga_begun_by_the_clock_is_guarded_by_it() -> None:
    story = Story("a", by_clock=True)
    assert story.sent == ["do a"]
    assert story.saga.wake_at == NOON + SEND_GUARD
    story.sent_by_clock()
    assert story.saga.wake_at == NOON + TIMEOUT


def test_the_outcome_announced_by_the_clock_is_settled_once_it_has_left() -> None:
    story = Story("a")
    story.time_passes()
    story.sent_by_clock()
    story.time_passes()
    story.sent_by_clock()
    story.time_passes()  # its second attempt
    story.sent_by_clock()
    story.time_passes()
    assert story.status("a") is StepStatus.COMPENSATION_FAILED
    assert story.sent == ["letter compensation_exhausted a", "SagaCompensationDeadLettered"]
    story.sent_by_clock()
    assert (story.owed, story.saga.wake_at) == ([], None)


def test_the_clock_finds_nothing_to_do_in_a_saga_that_is_not_planned_yet() -> None:
    story = Story("a")
    story.saga = story.saga.__class__(
        saga_id="saga-2",
        saga_type="Order",
        input_digest="digest",
        data={},
        resend_at=NOON,
        created_at=NOON,
        updated_at=NOON,
    )
    story.time_passes()
    assert story.last.verdict is Verdict.NOTHING


# --- no queue takes it -----------------------------------------------------------------


def test_an_unroutable_command_is_sent_again_until_its_deadline() -> None:
    story = Story("a", "b")
    story.came_back("a")
    assert story.step("a").unroutable
    assert story.notes == ["a: executing (no queue takes its command)"]
    assert story.saga.wake_at == NOON + SEND_GUARD
    story.time_passes()
    assert story.sent == ["do a"]
    story.sent_by_clock("a")
    assert story.last.transitions == ()
    assert story.step("a").deadline == NOON + TIMEOUT
    assert story.saga.wake_at == story.now + SEND_GUARD


def test_an_unroutable_command_fails_its_step_without_effect_at_the_deadline() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.came_back("b")
    story.time_passes(until=NOON + TIMEOUT)
    assert story.notes[0] == "b: executing -> failed (unroutable)"
    assert not story.step("b").effect_unknown
    assert story.failure is not None
    assert story.failure.error == "no queue was bound for Service.Do-b until its deadline"
    assert story.sent == ["undo a"]


def test_an_unroutable_command_that_leaves_in_the_end_has_its_whole_timeout() -> None:
    story = Story("a")
    story.came_back("a")
    story.time_passes()
    story.sent_by_clock()
    assert not story.step("a").unroutable
    assert story.step("a").deadline == story.now + TIMEOUT


def test_an_unroutable_compensation_is_a_failed_attempt_at_the_deadline() -> None:
    story = Story("a", "b")
    story.completed("a")
    story.failed("b")
    story.came_back("a")
    story.time_passes(until=NOON + TIMEOUT)
    assert story.notes == ["a: compensating (unroutable)"]
    assert story.step("a").error == "no queue was bound for Service.Undo-a until its deadline"


def test_past_the_pivot_an_unroutable_command_is_tried_again_after_a_pause() -> None:
    policy = halted().step("a").plan.compensation_retry
    story = past_pivot(step("b", undo=False, retry=policy))
    story.came_back("b")
    story.time_passes(until=NOON + TIMEOUT)
    assert story.step("b").retry_at == story.now + policy.initial


def test_what_came_back_settles_nothing_else_that_the_clock_owes() -> None:
    """It would be lost: nobody would send it again."""
    story = Story(["a", "b"], "c")
    story.time_passes(until=NOON + TIMEOUT)
    story.came_back("b")
    assert story.owed == ["undo a", "undo b"]


def test_what_came_back_lengthens_no_other_deadline() -> None:
    story = Story([step("a", timeout=MINUTE), "b"])
    story.came_back("b")
    for _ in range(3):
        story.time_passes()
        story.sent_by_clock("b")
    assert story.step("a").deadline == NOON + MINUTE


def test_a_confirmation_that_is_overtaken_by_a_returned_command_settles_nothing() -> None:
    story = Story(["a", "b"], by_clock=True)
    version = story.saga.version
    story.came_back("b")
    story.happens(Published(version=version))
    assert story.owed == ["do a", "do b"]


def test_the_guard_is_short_beside_any_timeout() -> None:
    assert timedelta(0) < SEND_GUARD < MINUTE
