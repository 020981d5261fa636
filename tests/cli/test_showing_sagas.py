"""What people see of sagas: lists, pages, and what is next."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from cli_stories import (
    CANCELLED,
    COMPLETED,
    FAILED,
    GATEWAY_DOWN,
    NO_TRUCK,
    PAYING,
    REFUND_EXHAUSTED,
    REFUND_PAUSED,
    TICKETS_EXHAUSTED,
    TRIP_PLAN,
    Moment,
    after,
    letter_of,
    stored,
)
from command_lines import Saga, put

from orchestrator.saga.state import Published, StepFailed
from orchestrator.store.database import DatabaseStore

LONG_ID = "0199a7c0-6b3e-7d52-9a0c-3f1e5f6a7b8c"
SOON = timedelta(seconds=5.2)


def section(page: str, title: str) -> list[str]:
    """The lines below a title, until an empty one."""
    lines = page.splitlines()
    below = lines[lines.index(title) + 1 :]
    return below[: below.index("")] if "" in below else below


def test_a_list_has_the_newest_first_and_why_they_failed(saga: Saga, database: str) -> None:
    async def put_sagas(store: DatabaseStore) -> None:
        await stored(store, "order-1", FAILED, began=timedelta(hours=2))
        await stored(store, LONG_ID, COMPLETED)

    put(database, put_sagas)
    header, first, second = saga("list").out.splitlines()
    assert header.split() == ["SAGA", "ID", "TYPE", "STATE", "STARTED", "MOVED", "WHY"]
    assert first.split()[:3] == [LONG_ID, "OrderFulfillment", "completed"]
    assert second.startswith("order-1 ")
    assert second.endswith(f"2 h ago    1 h ago    create_shipment: {NO_TRUCK}")


def test_a_list_can_be_narrowed(saga: Saga, database: str) -> None:
    async def put_sagas(store: DatabaseStore) -> None:
        await stored(store, "order-1", FAILED)
        await stored(store, "order-2", COMPLETED)
        await stored(store, "trip-1", TICKETS_EXHAUSTED, plan=TRIP_PLAN, saga_type="Trip")

    put(database, put_sagas)

    def ids(*options: str) -> set[str]:
        return {each["saga_id"] for each in saga("list", *options, "-o", "json").value}

    assert ids() == {"order-1", "order-2", "trip-1"}
    assert ids("--state", "failed") == {"order-1"}
    assert ids("--type", "Trip") == {"trip-1"}
    assert len(ids("--limit", "2")) == 2
    assert ids("--type", "Nothing") == set()


def test_stuck_sagas_are_those_that_nothing_will_move(
    saga: Saga, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put_sagas(store: DatabaseStore) -> None:
        await stored(store, "waits-for-its-reply", PAYING, began=timedelta(minutes=2))
        await stored(store, "overdue", PAYING, began=timedelta(hours=2))

    put(database, put_sagas)
    (stuck,) = saga("list", "--stuck", "-o", "json").value
    assert (stuck["saga_id"], stuck["is_stuck"]) == ("overdue", True)
    monkeypatch.setenv("SAGA_STUCK_AFTER", "3h")
    assert saga("list", "--stuck").out == "no such sagas\n"


def test_an_empty_list_says_so(saga: Saga, database: str) -> None:
    assert saga("list").out == "no sagas\n"
    assert saga("list", "-o", "json").value == []


def test_the_page_of_a_failed_saga_tells_the_whole_story(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", FAILED))
    page = saga("show", "order-42").out
    assert page.startswith("Saga     order-42\nType     OrderFulfillment\nState    failed since ")
    assert " ago): all that was done is compensated\n" in page
    assert f"Failure  create_shipment: {NO_TRUCK}\n" in page
    assert '"order_id": "42"' in page
    steps = section(page, "Steps")
    assert [line.split()[:4] for line in steps if line[:2].strip()] == [
        ["1", "↩", "reserve_inventory", "compensated"],
        ["2", "↩", "process_payment", "compensated"],
        ["3", "✗", "create_shipment", "failed"],
        ["4", "·", "send_confirmation", "pending"],
    ]
    assert steps[-2].endswith(f"failed after 1.5 s: {NO_TRUCK}")
    history = section(page, "History")
    assert history[1].endswith("started, by client")
    assert "compensating → failed" in history[-1]
    assert "Next" not in page.splitlines()


def test_each_attempt_is_a_line_with_its_time_and_error(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", REFUND_EXHAUSTED))
    steps = section(saga("show", "order-42").out, "Steps")
    tries = [line.split() for line in steps if "compensation " in line]
    assert [line[1] for line in tries] == ["1", "2", "3", "4", "5"]
    assert all(" ".join(line[3:]) == f"failed after 1.0 s: {GATEWAY_DOWN}" for line in tries)


def test_a_page_in_json_has_each_attempt_and_what_is_next(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", REFUND_PAUSED, began=SOON))
    value = saga("show", "order-42", "-o", "json").value
    refund = value["steps"][1]
    assert (refund["name"], refund["status"], refund["attempts"], refund["error"]) == (
        "process_payment",
        "compensating",
        1,
        GATEWAY_DOWN,
    )
    action, compensation = refund["commands"]
    assert (action["direction"], action["outcome"], action["error"]) == (
        "action",
        "completed",
        None,
    )
    assert (compensation["attempt"], compensation["outcome"]) == (1, "failed")
    (prospect,) = value["next"]
    assert (prospect["waiting_for"], prospect["step"]) == ("attempt", "process_payment")
    assert value["history"][0]["from"] == value["history"][0]["to"] == "started"


NEXT: dict[str, tuple[Sequence[Moment], timedelta, str]] = {
    "a reply": (
        PAYING,
        SOON,
        "waiting for the reply of PaymentService.ProcessPayment (process_payment) until ",
    ),
    "a reply that is overdue": (
        PAYING,
        timedelta(hours=1),
        "there was no reply of PaymentService.ProcessPayment (process_payment) until ",
    ),
    "an orchestrator for what is overdue": (
        PAYING,
        timedelta(hours=1),
        "is an orchestrator running that knows OrderFulfillment?",
    ),
    "the next attempt": (
        REFUND_PAUSED,
        SOON,
        "next attempt of PaymentService.RefundPayment (process_payment) in ",
    ),
    "a queue": (
        [after(0.1, Published(version=2, unroutable=frozenset({"reserve_inventory"})))],
        SOON,
        "no queue is bound for InventoryService.ReserveItems (reserve_inventory): sent again",
    ),
    "the dead letter": (
        REFUND_EXHAUSTED,
        timedelta(minutes=5),
        "halted at process_payment: its dead letter is not stored yet; is the DLQ worker running?",
    ),
}


@pytest.mark.parametrize(("moments", "began", "words"), NEXT.values(), ids=NEXT.keys())
def test_the_page_says_what_the_saga_waits_for(
    moments: Sequence[Moment], began: timedelta, words: str, saga: Saga, database: str
) -> None:
    put(database, lambda store: stored(store, "order-42", moments, began=began))
    assert any(words in line for line in section(saga("show", "order-42").out, "Next"))


def test_a_person_is_told_what_to_type(saga: Saga, database: str) -> None:
    async def halted(store: DatabaseStore) -> int:
        return await letter_of(
            store, await stored(store, "order-42", REFUND_EXHAUSTED), is_alerted=True
        )

    letter_id = put(database, halted)
    page = saga("show", "order-42").out
    (line,) = section(page, "Next")
    assert line == (
        f"→ halted at process_payment: a person must resolve dead letter {letter_id}: saga dlq "
        f"resolve {letter_id} --reason …, or have it tried again: saga dlq retry {letter_id}"
    )
    assert section(page, "Dead letters")[1].split()[:4] == [
        str(letter_id),
        "open",
        "compensation_exhausted",
        "process_payment",
    ]


def test_a_letter_that_the_worker_still_replays_needs_no_person(saga: Saga, database: str) -> None:
    async def replayed(store: DatabaseStore) -> int:
        return await letter_of(store, await stored(store, "order-42", REFUND_EXHAUSTED))

    letter_id = put(database, replayed)
    (line,) = section(saga("show", "order-42").out, "Next")
    assert (
        line == f"→ halted at process_payment: the DLQ worker looks at dead letter {letter_id} now"
    )


def test_past_the_pivot_a_result_is_asked_for(saga: Saga, database: str) -> None:
    async def halted(store: DatabaseStore) -> int:
        trip = await stored(
            store, "trip-1", TICKETS_EXHAUSTED, plan=TRIP_PLAN, saga_type="Trip", data={}
        )
        return await letter_of(store, trip, is_alerted=True)

    letter_id = put(database, halted)
    page = saga("show", "trip-1").out
    (line,) = section(page, "Next")
    assert "halted past the pivot at send_tickets" in line
    assert f"saga dlq resolve {letter_id} --reason … --result JSON" in line
    assert [line[:6] for line in section(page, "Steps")] == [
        " 1 ┌ ✓",
        "   │  ",
        "   │ ✓",
        "   └  ",
        " 2   ✓",
        "      ",
        " 3   ✗",
        "      ",
    ]
    assert "pay (pivot)" in page


def test_a_saga_that_is_only_asked_for_waits_for_an_orchestrator(saga: Saga, database: str) -> None:
    saga("start", "Order", "--id", "order-42", "--data", "{}")
    (line,) = section(saga("show", "order-42").out, "Next")
    assert line == "→ waiting for an orchestrator that knows Order"


def test_a_cancel_that_still_waits_says_for_what(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", CANCELLED))
    page = saga("show", "order-42").out
    assert "Cancel   cancelled by anna: customer called; what is under way is awaited" in page


def test_texts_of_participants_cannot_command_the_terminal(saga: Saga, database: str) -> None:
    evil = StepFailed(
        step="reserve_inventory", cause="m1", error="\x1b[2J[red]no[/red]\nsecond \u202eline"
    )
    put(database, lambda store: stored(store, "order-42", [after(1, evil)]))
    for line in (("show", "order-42"), ("list",)):
        out = saga(*line).out
        assert "\x1b" not in out
        assert r"\x1b[2J[red]no[/red] second \u202eline" in out


def test_data_that_are_long_are_cut_on_the_page_and_whole_in_json(
    saga: Saga, database: str
) -> None:
    data = {"text": "x" * 5000}
    put(database, lambda store: stored(store, "order-42", data=data))
    page = saga("show", "order-42").out
    assert "more characters: -o json)" in page
    assert "x" * 2001 not in page
    assert saga("show", "order-42", "-o", "json").value["data"] == data
