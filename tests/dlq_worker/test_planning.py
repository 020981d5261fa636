"""When what is tried, how often, and when a person is called."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from dlq_stories import NOW, PAYING, REFUND_FAILED, SAGA, command_letter, letter, saga_after

from dlq_worker.letter import DeadLetter
from dlq_worker.planning import (
    Alert,
    Answer,
    Close,
    LookAgain,
    Plan,
    Repeat,
    Replay,
    ReplayPolicy,
    plan,
)
from dlq_worker.rows import StoredLetter
from dlq_worker.statuses import Severity, Status
from dlq_worker.triage import Keep, triage
from orchestrator.saga.state import CompensationCompleted, Saga

POLICY = ReplayPolicy(limit=3, base=timedelta(seconds=10), maximum=timedelta(seconds=30))
COMPENSATION = letter("compensation", {"saga_id": SAGA, "step_name": "pay"})
REPLY = letter("saga.replies", {"saga_id": SAGA, "step_name": "pay"}, type="SagaStepCompleted")


def stored(dead: DeadLetter, **changes: Any) -> StoredLetter:
    values: dict[str, Any] = {
        "status": Status.OPEN,
        "times_seen": 1,
        "first_seen": NOW,
        "last_seen": NOW,
        "replays": 0,
        "last_replay_at": None,
        "next_replay_at": NOW,
        "send_requested": False,
        "alert_key": None,
        "closed_at": None,
        "closed_by": None,
        "closed_reason": None,
    }
    return StoredLetter(id=1, letter=dead, **{**values, **changes})


def planned(
    row: StoredLetter, saga: Saga | None, *, seconds: float = 0, policy: ReplayPolicy = POLICY
) -> Plan:
    now = NOW + timedelta(seconds=seconds)
    return plan(row, triage(row.letter, saga), saga, policy, now)


def moments(policy: ReplayPolicy) -> list[float]:
    """Seconds after its arrival at which a letter is replayed, and at last a person called."""
    saga, row, now, seen = saga_after(*REFUND_FAILED), stored(COMPENSATION), NOW, []
    while True:
        match plan(row, triage(COMPENSATION, saga), saga, policy, now):
            case LookAgain(datetime() as at, Status.REPLAYING):
                now = at
            case Replay():
                seen.append((now - NOW).total_seconds())
                row = stored(COMPENSATION, replays=row.replays + 1, last_replay_at=now)
            case Alert(_, Severity.CRITICAL):
                return [*seen, (now - NOW).total_seconds()]
            case other:
                raise AssertionError(other)


def test_replays_come_after_doubled_pauses_up_to_the_longest_and_then_a_person_is_called() -> None:
    assert moments(POLICY) == [10, 30, 60, 90]
    assert moments(ReplayPolicy()) == [10, 30, 70, 150, 310, 470]


def test_without_replays_a_person_is_called_at_once() -> None:
    assert moments(ReplayPolicy(limit=0)) == [0]


@pytest.mark.parametrize(
    ("limit", "tried"), [(0, "its retries"), (1, "1 replay"), (2, "2 replays")]
)
def test_the_alert_says_what_was_tried(limit: int, tried: str) -> None:
    row = stored(COMPENSATION, replays=limit)
    alert = planned(row, saga_after(*REFUND_FAILED), seconds=3600, policy=ReplayPolicy(limit=limit))
    assert alert == Alert(f"the compensation still fails after {tried}", Severity.CRITICAL)


def test_a_hundred_doublings_are_still_the_longest_pause() -> None:
    assert ReplayPolicy(limit=100).pause(100) == timedelta(hours=1)


def test_a_letter_that_comes_again_begins_anew() -> None:
    later = NOW + timedelta(hours=1)
    row = stored(COMPENSATION, last_seen=later, times_seen=2)
    saga = saga_after(*REFUND_FAILED)
    assert planned(row, saga, seconds=3605) == LookAgain(
        later + timedelta(seconds=10), Status.REPLAYING
    )


def test_an_answer_goes_out_at_once_three_times_at_most_and_then_a_person_is_called() -> None:
    saga, row = saga_after(*PAYING), stored(command_letter())
    assert isinstance(planned(row, saga), Answer)
    row = stored(command_letter(), replays=1, last_replay_at=NOW)
    assert planned(row, saga) == LookAgain(NOW + timedelta(seconds=10), Status.REPLAYING)
    assert isinstance(planned(row, saga, seconds=10), Answer)
    row = stored(command_letter(), replays=3, last_replay_at=NOW)
    assert isinstance(planned(row, saga, seconds=30), Alert)


def test_answers_do_not_depend_on_how_often_compensations_are_replayed() -> None:
    row = stored(command_letter())
    assert isinstance(planned(row, saga_after(*PAYING), policy=ReplayPolicy(limit=0)), Answer)


def test_a_message_is_sent_again_three_times_at_most() -> None:
    saga = saga_after(*PAYING)
    for replays in range(3):
        assert planned(stored(REPLY, replays=replays), saga) == Repeat()
    assert isinstance(planned(stored(REPLY, replays=3), saga), Alert)


def test_a_message_sent_again_is_followed_until_its_saga_has_taken_it() -> None:
    sent = stored(REPLY, replays=1, status=Status.REPLAYING)
    assert planned(sent, saga_after(*PAYING)) == LookAgain(None, Status.REPLAYING)
    match planned(sent, saga_after(*REFUND_FAILED)):
        case Close(Status.RESOLVED, _):
            pass
        case other:
            raise AssertionError(other)


def test_of_a_start_without_an_id_nobody_can_tell_whether_it_was_taken() -> None:
    start = letter("saga.starts", {"saga_type": "Order", "data": {}}, type="StartSaga")
    sent = stored(start, replays=1, status=Status.REPLAYING)
    assert planned(sent, None) == Close(Status.RESOLVED, "sent again; it reopens if it comes back")


def test_rejected_messages_are_only_kept_and_one_person_told() -> None:
    row = stored(letter("rejected.saga.replies", b"{", headers={"saga-reason": "bad_json"}))
    assert planned(row, None) == Alert("rejected: bad_json", Severity.WARNING)


def test_what_a_person_asked_to_send_is_sent_whatever_the_verdict() -> None:
    row = stored(letter("whatever"), send_requested=True)
    assert plan(row, Keep("any"), None, POLICY, NOW) == Repeat()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.SUPERSEDED),
        ({"status": Status.REPLAYING}, Status.RESOLVED),
        ({"alert_key": "saga|order-42|pay"}, Status.RESOLVED),
    ],
)
def test_a_letter_whose_saga_moved_before_anything_was_done_is_superseded(
    changes: dict[str, Any], status: Status
) -> None:
    saga = saga_after(*REFUND_FAILED, CompensationCompleted(step="pay"))
    assert planned(stored(COMPENSATION, **changes), saga) == Close(
        status, "step pay is compensated"
    )
