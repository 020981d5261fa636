"""Starting, awaiting and cancelling sagas by hand."""

import io
import sys
from pathlib import Path

import pytest
from cli_stories import CANCELLED, COMPLETED, FAILED, NO_TRUCK, PAYING, stored
from command_lines import Saga, only_line, put

from messaging.contract import SAGA_ID
from orchestrator.cli.options import person
from orchestrator.store.queries import show_saga

ORDER = '{"order_id": "42"}'


def test_a_start_prints_the_id_and_the_saga_waits_for_a_worker(saga: Saga, database: str) -> None:
    ran = saga("start", "OrderFulfillment", "--data", ORDER)
    assert (ran.code, ran.err) == (0, "")
    saga_id = only_line(ran.out)
    assert SAGA_ID.fullmatch(saga_id)
    view = put(database, lambda store: show_saga(store, saga_id))
    assert view
    assert (view.saga_type, view.data, view.state) == (
        "OrderFulfillment",
        {"order_id": "42"},
        "started",
    )


def test_data_come_from_a_file_or_from_stdin(
    saga: Saga, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("order.json").write_text('{"from": "a file"}')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "stdin"}')))
    for source, words in (("@order.json", "a file"), ("-", "stdin")):
        assert saga("start", "Order", "--data", source, "--id", words.replace(" ", "-")).code == 0
        assert saga("show", words.replace(" ", "-"), "-o", "json").value["data"] == {"from": words}


def test_starting_again_changes_nothing_and_other_data_are_refused(
    saga: Saga, database: str
) -> None:
    line = ("start", "Order", "--id", "order-42", "--data")
    assert saga(*line, ORDER).out == "order-42\n"
    assert saga(*line, ORDER).out == "order-42\n"
    ran = saga(*line, '{"order_id": "43"}')
    assert (ran.code, ran.out) == (4, "")
    assert "order-42 was started before" in only_line(ran.err)


def test_a_start_in_json(saga: Saga, database: str) -> None:
    ran = saga("start", "Order", "--id", "order-42", "--data", "{}", "-o", "json")
    assert ran.value == {"saga_id": "order-42", "state": "started"}


def test_waiting_for_what_never_ends_is_not_so_and_the_saga_goes_on(
    saga: Saga, database: str
) -> None:
    line = ("start", "Order", "--id", "order-42", "--data", "{}", "--wait", "--timeout", "0.1")
    ran = saga(*line)
    assert (ran.code, ran.out) == (3, "order-42\nstarted\n")
    assert "has not ended within 0.1 s; it goes on" in only_line(ran.err)
    ran = saga(*line, "-o", "json")
    assert ran.code == 3
    assert ran.value == {"saga_id": "order-42", "state": "started", "has_ended": False}


def test_a_saga_that_has_completed_is_0(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", COMPLETED))
    ran = saga("wait", "order-42")
    assert (ran.code, ran.out, ran.err) == (0, "completed\n", "")


def test_a_saga_that_has_failed_is_3_and_tells_why(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", FAILED))
    ran = saga("wait", "order-42")
    assert (ran.code, ran.out) == (3, "failed\n")
    assert f"failed at create_shipment: {NO_TRUCK}; see saga show order-42" in only_line(ran.err)
    ran = saga("wait", "order-42", "-o", "json")
    assert ran.value == {"saga_id": "order-42", "state": "failed", "has_ended": True}


@pytest.mark.parametrize("line", [("show",), ("wait",), ("cancel", "--reason", "x")])
def test_a_saga_that_is_not_there_is_3(line: tuple[str, ...], saga: Saga, database: str) -> None:
    ran = saga(*line, "order-0")
    assert (ran.code, ran.out) == (3, "")
    assert "there is no saga 'order-0'; `saga list`" in only_line(ran.err)


def test_a_cancel_awaits_what_is_under_way_and_keeps_who_and_why(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", PAYING))
    ran = saga("cancel", "order-42", "--reason", "customer called", "--by", "anna")
    assert ran.code == 0
    assert "order-42 is pending: nothing new is sent" in only_line(ran.out)
    line = saga("show", "order-42", "-o", "json").value["history"][-1]
    assert (line["note"], line["actor"], line["cause"]) == ("cancel requested", "anna", "operator")


def test_a_cancel_is_by_the_user_of_the_system(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", PAYING))
    assert saga("cancel", "order-42", "--reason", "x").code == 0
    assert saga("show", "order-42", "-o", "json").value["history"][-1]["actor"] == person(None)


def test_a_user_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("no username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert person(None).startswith("uid-")


def test_a_cancel_again_changes_nothing(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", CANCELLED))
    assert saga("cancel", "order-42", "--reason", "again", "-o", "json").value == {
        "saga_id": "order-42",
        "state": "pending",
    }


def test_what_has_ended_cannot_be_cancelled(saga: Saga, database: str) -> None:
    put(database, lambda store: stored(store, "order-42", COMPLETED))
    ran = saga("cancel", "order-42", "--reason", "too late")
    assert (ran.code, ran.out) == (4, "")
    assert "has already completed" in only_line(ran.err)
