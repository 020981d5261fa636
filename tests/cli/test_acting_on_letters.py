"""Looking at dead letters and doing something about them."""

import pytest
from cli_stories import (
    GATEWAY_DOWN,
    REFUND_EXHAUSTED,
    TICKETS_EXHAUSTED,
    TRIP_PLAN,
    letter_of,
    stored,
)
from command_lines import Saga, only_line, put

from dlq_worker.listing import show_letter
from orchestrator.cli.options import person
from orchestrator.store.database import DatabaseStore


@pytest.fixture
def refund(database: str) -> str:
    """The number of the letter about a refund that failed, with its alert."""

    async def put_letter(store: DatabaseStore) -> int:
        saga = await stored(store, "order-42", REFUND_EXHAUSTED)
        return await letter_of(store, saga, is_alerted=True)

    return str(put(database, put_letter))


@pytest.fixture
def tickets(database: str) -> str:
    """The number of the letter about a step past the pivot."""

    async def put_letter(store: DatabaseStore) -> int:
        trip = await stored(
            store, "trip-1", TICKETS_EXHAUSTED, plan=TRIP_PLAN, saga_type="Trip", data={}
        )
        return await letter_of(store, trip, is_alerted=True)

    return str(put(database, put_letter))


def state_of(saga: Saga, saga_id: str = "order-42") -> str:
    state: str = saga("show", saga_id, "-o", "json").value["state"]
    return state


def test_a_list_has_a_line_for_each_open_letter(saga: Saga, refund: str) -> None:
    header, line = saga("dlq", "list").out.splitlines()
    assert header.split() == ["ID", "STATUS", "REASON", "SAGA", "STEP", "REPLAYS", "SEEN", "ERROR"]
    assert line.split()[:5] == [
        refund,
        "open",
        "compensation_exhausted",
        "order-42",
        "process_payment",
    ]
    assert line.endswith(GATEWAY_DOWN)


def test_the_keys_of_the_contract_are_there(saga: Saga, refund: str) -> None:
    (letter,) = saga("dlq", "list", "-o", "json").value
    assert letter.keys() >= {
        *("id", "reason", "saga_id", "saga_type", "step_name", "error", "status", "replays"),
        *("first_seen", "last_seen"),
    }


def test_a_list_can_be_narrowed(saga: Saga, refund: str, tickets: str) -> None:
    def ids(*options: str) -> set[str]:
        return {str(each["id"]) for each in saga("dlq", "list", *options, "-o", "json").value}

    assert ids() == {refund, tickets}
    assert ids("--saga", "trip-1") == {tickets}
    assert ids("--type", "Trip") == {tickets}
    assert ids("--step", "process_payment") == {refund}
    assert ids("--reason", "forward_exhausted") == {tickets}
    assert ids("--status", "resolved") == set()
    assert len(ids("--limit", "1")) == 1
    cause = saga("dlq", "groups", "--reason", "forward_exhausted", "-o", "json").value[0]
    assert ids("--cause", cause["signature"]) == {tickets}


def test_a_thousand_letters_of_one_cause_are_one_group(saga: Saga, database: str) -> None:
    async def put_letters(store: DatabaseStore) -> None:
        for number in range(3):
            owing = await stored(store, f"order-{number}", REFUND_EXHAUSTED)
            await letter_of(store, owing)

    put(database, put_letters)
    (group,) = saga("dlq", "groups", "-o", "json").value
    assert (group["letters"], group["sagas"]) == (3, 3)
    header, line = saga("dlq", "groups").out.splitlines()
    assert header.startswith("LETTERS  SAGAS  REASON")
    assert "gateway answered <n>" in line


def test_a_letter_shows_its_message_and_what_was_done(saga: Saga, refund: str) -> None:
    page = saga("dlq", "show", refund).out
    assert page.startswith(f"Dead letter  {refund}\nStatus       open\n")
    assert "Command      PaymentService.RefundPayment\n" in page
    assert "Alert        open, critical, sent never: all replays are used up\n" in page
    assert 'body              {"saga_id": "order-42", "step_name": "process_payment"' in page
    assert page.splitlines()[-1].split()[1] == "alerted"


def test_an_acknowledged_alert_has_a_name(saga: Saga, refund: str) -> None:
    assert saga("dlq", "ack", refund, "--by", "anna").code == 0
    assert "acknowledged by anna" in saga("dlq", "show", refund).out
    ran = saga("dlq", "ack", refund)
    assert ran.code == 4
    assert "is acknowledged already, by anna" in only_line(ran.err)


def test_a_retry_needs_no_reason_and_keeps_one_that_is_given(
    saga: Saga, refund: str, database: str
) -> None:
    ran = saga("dlq", "retry", refund)
    assert ran.code == 0
    assert "sends the command of step process_payment again" in only_line(ran.out)
    action = put(database, lambda store: show_letter(store, int(refund))).actions[-1]
    assert (action.action, action.by, action.reason) == (
        "retried",
        person(None),
        "tried again by hand",
    )


def test_several_are_retried_and_those_that_cannot_be_are_named(
    saga: Saga, refund: str, tickets: str
) -> None:
    ran = saga("dlq", "retry", refund, "999", tickets, "--reason", "gateway is back")
    assert ran.code == 4
    assert "there is no dead letter 999" in only_line(ran.err)
    assert f"the others were retried: {refund}, {tickets}" in ran.err
    ran = saga("dlq", "list", "-o", "json")
    assert {each["status"] for each in ran.value} == {"replaying"}


def test_a_resolved_compensation_moves_the_saga_on(saga: Saga, refund: str) -> None:
    ran = saga("dlq", "resolve", refund, "--reason", "refunded by phone", "--by", "anna")
    assert ran.code == 0
    assert "saga order-42 is compensating" in only_line(ran.out)
    value = saga("show", "order-42", "-o", "json").value
    assert [step["status"] for step in value["steps"][:2]] == ["compensating", "compensated"]
    note = "resolved by hand: refunded by phone"
    assert [line["actor"] for line in value["history"] if line["note"] == note] == ["anna"]
    assert saga("dlq", "list").out == "no open dead letters\n"
    assert "by anna: refunded by phone" in saga("dlq", "show", refund).out


def test_a_step_past_the_pivot_is_resolved_with_its_result(saga: Saga, tickets: str) -> None:
    line = ("dlq", "resolve", tickets, "--reason", "sent by post", "--result", '{"post": "r-1"}')
    ran = saga(*line, "-o", "json")
    assert ran.value == [
        {"id": int(tickets), "message": "step send_tickets is done; saga trip-1 is completed"}
    ]
    value = saga("show", "trip-1", "-o", "json").value
    assert (value["state"], value["data"]) == ("completed", {"post": "r-1"})


def test_what_a_saga_waits_for_cannot_be_discarded(saga: Saga, refund: str) -> None:
    ran = saga("dlq", "discard", refund, "--reason", "never mind")
    assert (ran.code, ran.out) == (4, "")
    assert f"`saga dlq resolve {refund} --reason …`" in only_line(ran.err)
    assert state_of(saga) == "compensating"


def test_what_is_closed_stays_closed(saga: Saga, refund: str) -> None:
    line = ("dlq", "resolve", refund, "--reason", "done")
    assert saga(*line).code == 0
    ran = saga(*line)
    assert ran.code == 4
    assert "is resolved already" in only_line(ran.err)


@pytest.mark.parametrize(
    "line",
    [
        ("show", "7"),
        ("ack", "7"),
        ("retry", "7"),
        ("resolve", "7", "--reason", "x"),
        ("discard", "7", "--reason", "x"),
        ("show", str(2**63)),
    ],
)
def test_a_letter_that_is_not_there_is_3(line: tuple[str, ...], saga: Saga, database: str) -> None:
    ran = saga("dlq", *line)
    assert (ran.code, ran.out) == (3, "")
    assert line[1] in only_line(ran.err)
