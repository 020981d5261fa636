"""What each expectation says when the saga does something else."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from kit_sagas import Order, Ping, Trip

from orchestrator.testing import ScenarioFailed, given
from orchestrator.testing.scenario import Scenario

ENDED = given(Ping).expects("ping").completes()
ASKED = given(Ping).expects("ping")
STAGE = given(Trip).expects("flight", "hotel", "car")
UNDOING = given(Order).expects("reserve").completes().expects("pay").fails("declined")

WRONG: dict[str, tuple[Callable[[], Scenario], str]] = {
    "another command": (
        lambda: given(Ping).compensates("ping"),
        "expected ping to be compensated; it has sent ping (echo.Ping)",
    ),
    "no command": (
        lambda: ENDED.expects("ping"),
        "expected ping to be sent; it has sent nothing new",
    ),
    "fewer commands": (
        lambda: given(Trip).expects("flight", "car"),
        "expected flight and car to be sent; it has sent flight (flight.Book) and hotel",
    ),
    "a compensation": (
        lambda: UNDOING.expects("reserve"),
        "expected reserve to be sent; it has sent the compensation of reserve (stock.Release)",
    ),
    "a step that is not there": (
        lambda: given(Trip).expects("fight"),
        "expected a step 'fight'; the plan has flight, hotel, car, invoice",
    ),
    "silence": (
        lambda: given(Ping).sends_nothing(),
        "expected no command to be sent; it has sent ping (echo.Ping)",
    ),
    "nothing to answer": (
        lambda: given(Ping).completes(),
        "expected a command that .completes() is about; none is selected: say .expects(…)",
    ),
    "answered twice": (
        lambda: ASKED.completes().fails("no"),
        "expected a command that .fails() is about; none is selected",
    ),
    "nothing to repeat": (
        ASKED.repeats,
        "expected an answer to repeat; none has been given yet",
    ),
    "a step that waits for nothing": (
        lambda: ENDED.step("ping"),
        "expected a command of ping that waits for its reply; it is completed",
    ),
    "a step that was not expected": (
        lambda: given(Ping).step("ping"),
        "expected ping to have been expected before it is answered; say .expects(…) first",
    ),
    "a step that pauses": (
        lambda: ASKED.fails("busy", retryable=True).step("ping"),
        "it pauses before its next attempt: say .retries(…)",
    ),
    "late too early": (
        lambda: ASKED.late("ping"),
        "expected an answer of ping that comes late; it is awaited still: use .step(…)",
    ),
    "late of what was never asked": (
        lambda: STAGE.late("invoice"),
        "expected an answer of invoice that comes late; its action was never sent",
    ),
    "no retry": (
        lambda: ENDED.retries("ping"),
        "expected ping to be tried again; it is completed",
    ),
    "another pause": (
        lambda: ASKED.fails("busy", retryable=True).retries("ping", after=timedelta(seconds=3)),
        "expected ping to be tried again after 0:00:03; its pause is 0:00:02",
    ),
    "a missing value": (
        lambda: ASKED.carrying({"sku": 1}),
        "expected ping (echo.Ping) to carry 'sku'; it carries ['saga_id', 'step_name']",
    ),
    "another value": (
        lambda: ASKED.carrying({"step_name": "pong"}),
        "to carry 'step_name' = 'pong'; it carries 'ping'",
    ),
    "another status": (
        lambda: ASKED.steps(ping="completed"),
        "expected ping to be completed; it is executing",
    ),
    "a status that is none": (
        lambda: ASKED.steps(ping="done"),
        "expected ping's status to be one of pending, executing, completed, failed",
    ),
    "another state": (
        lambda: ASKED.is_now("pending"),
        "expected the saga to be pending; it is started",
    ),
    "another end": (
        lambda: ENDED.ends("failed"),
        "expected the saga to end as failed; it has completed",
    ),
    "no end yet": (
        lambda: given(Ping).ends("completed"),
        "it is started and looks again at +5:00, and it has sent ping (echo.Ping) which nothing",
    ),
    "an end that is none": (
        lambda: ENDED.ends("compensating"),  # type: ignore[arg-type]
        "expected the end of a saga to be one of completed, failed; it is 'compensating'",
    ),
    "another error": (
        lambda: ASKED.fails("no").ends("failed", error="never"),
        "expected the saga to end with the error 'never'; it is 'no'",
    ),
    "another event": (
        lambda: ENDED.announces("PingFailed"),
        "expected the event PingFailed; events sent: PingCompleted",
    ),
    "an event with another value": (
        lambda: ENDED.announces("PingCompleted", {"saga_id": "other"}),
        "expected the event PingCompleted to carry 'saga_id' = 'other'; it carries 'saga-1'",
    ),
    "no dead letter": (
        lambda: ENDED.calls_person("late_success"),
        "expected a dead letter 'late_success'; dead letters sent: none",
    ),
    "in time": (
        lambda: ENDED.counts_as("duplicate"),
        "expected the last reply to count as 'duplicate'; it was in time",
    ),
    "late in another way": (
        lambda: ENDED.repeats().counts_as("conflict"),
        "expected the last reply to count as 'conflict'; it counts as 'duplicate'",
    ),
    "refused": (
        ENDED.cancel,
        "expected the request to be accepted; it was refused: saga saga-1 has already completed",
    ),
    "not refused": (
        lambda: ASKED.cancel(refused="pivot"),
        "expected the request to be refused with 'pivot'; it was accepted",
    ),
    "an unexpected compensation before the end": (
        lambda: UNDOING.ends("failed"),
        "expected the saga to end as failed; it is compensating",
    ),
    "a deadline that is over": (
        lambda: UNDOING.compensates("reserve").fails("x").times_out(),
        "expected a command that .times_out() is about; none is selected",
    ),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_failure_says_what_was_expected_and_what_came_instead(
    wrong: Callable[[], Scenario], said: str
) -> None:
    with pytest.raises(ScenarioFailed, match=re.escape(said)):
        wrong()


def test_a_failure_shows_the_saga_so_far_as_a_table() -> None:
    with pytest.raises(ScenarioFailed) as caught:
        ASKED.fails("busy", retryable=True).after(seconds=1).expects("ping")
    assert str(caught.value) == (
        "expected ping to be sent; it has sent nothing new\n"
        "\n"
        "Ping saga-1 is pending at +0:01\n"
        "  ping: executing, tried again at +0:02, last error: busy\n"
        "\n"
        "  time   step    change               attempt  note\n"
        "  +0:00  (saga)  started                       started\n"
        "  +0:00  ping    pending → executing  1\n"
        "  +0:00  ping    executing            1        failed: busy\n"
        "  +0:00  (saga)  started → pending"
    )


def test_a_scenario_that_waits_for_a_person_says_so() -> None:
    saga = UNDOING.compensates("reserve").fails("no", retryable=False)
    with pytest.raises(ScenarioFailed, match="it is compensating and waits for a person"):
        saga.ends("failed")


def test_what_nobody_expected_before_the_end_is_a_failure() -> None:
    saga = given(Ping).after(minutes=60)
    with pytest.raises(ScenarioFailed, match="it has sent ping"):
        saga.ends("failed")
