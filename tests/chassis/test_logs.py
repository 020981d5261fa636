"""What is written to the log, and what never is."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from chassis import logs
from chassis.fact_lines import FactLog
from chassis.facts import (
    BatchCommitted,
    BatchPublished,
    CommandHandled,
    ConnectionChanged,
    DeadLettered,
    Fact,
    GaugeMeasured,
    LateReply,
    MessageRejected,
    Noticed,
    SagaAdvanced,
    StepMoved,
)

HOSTILE = "\x1b[31mred\x1b[0m\r\n2026-01-01 fake line \u202e %s {0} \x00\x9b1m"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Put the process's logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs._TALKATIVE}
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, earlier in levels.items():
        logging.getLogger(name).setLevel(earlier)
    structlog.reset_defaults()


def written(log_format: str, log_level: str, write: Callable[[], object]) -> str:
    stream = io.StringIO()
    logs.configure(log_format=log_format, log_level=log_level, stream=stream)
    write()
    return stream.getvalue()


def records(write: Callable[[], object], log_level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in written("json", log_level, write).splitlines()]


def lines_of(
    *facts: Fact, log_level: str = "debug", log: FactLog | None = None
) -> list[dict[str, Any]]:
    fact_log = log or FactLog()

    def write() -> None:
        for fact in facts:
            fact_log(fact)

    return records(write, log_level)


def test_our_own_and_foreign_records_come_out_alike() -> None:
    def write() -> None:
        structlog.stdlib.get_logger("ours").info("hello", saga_id="s-1")
        logging.getLogger("theirs").info("hello %s", "there")

    ours, theirs = records(write)
    assert (ours["logger"], ours["level"], ours["event"], ours["saga_id"]) == (
        "ours",
        "info",
        "hello",
        "s-1",
    )
    assert (theirs["logger"], theirs["level"], theirs["event"]) == ("theirs", "info", "hello there")
    for record in (ours, theirs):
        assert datetime.fromisoformat(record["timestamp"]).utcoffset() == timedelta(0)


def test_context_reaches_foreign_records_too() -> None:
    def write() -> None:
        with structlog.contextvars.bound_contextvars(saga_id="s-1"):
            logging.getLogger("theirs").warning("slow")

    (record,) = records(write)
    assert record["saga_id"] == "s-1"


def test_a_line_about_a_fact_has_all_that_others_have() -> None:
    fact = Noticed(level="info", message="hello", details={"count": 3, "moment": timedelta(1)})

    def write() -> None:
        with structlog.contextvars.bound_contextvars(saga_id="s-1", count=9):
            FactLog()(fact)
            structlog.stdlib.get_logger("saga").info("hello")

    line, other = records(write)
    assert other.keys() <= line.keys()
    assert (line["count"], line["saga_id"], line["moment"]) == (3, "s-1", repr(timedelta(1)))
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_a_traceback_shows_no_variables() -> None:
    def write() -> None:
        password = "hunter2"
        try:
            raise ValueError("oh")
        except ValueError:
            logging.getLogger("x").exception("failed %d", len(password))

    for log_format in ("json", "console"):
        text = written(log_format, "info", write)
        assert "ValueError: oh" in text
        assert "hunter2" not in text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_hostile_text_stays_on_its_line_and_is_no_template(log_format: str) -> None:
    def write() -> None:
        structlog.stdlib.get_logger("ours").info(HOSTILE, error=HOSTILE, nested=[HOSTILE])
        logging.getLogger("theirs").warning(HOSTILE)

    text = written(log_format, "info", write)
    assert len(text.splitlines()) == 2
    assert not set(text) & set("\x1b\r\u202e\x00\x9b")
    assert text.count("%s {0}") == 4


def test_a_traceback_keeps_its_lines_but_its_text_is_escaped() -> None:
    def write() -> None:
        logging.getLogger("x").error("failed", exc_info=ValueError("\x1b[31mred"))

    text = written("console", "info", write)
    assert "\x1b" not in text
    assert "ValueError: \\x1b[31mred" in text.splitlines()[-1]


def test_libraries_cannot_write_payloads_at_their_lower_levels() -> None:
    def write() -> None:
        for name in ("aiormq.connection", "aio_pika.queue", "sqlalchemy.engine.Engine"):
            logging.getLogger(name).debug("payload")
            logging.getLogger(name).info("payload")

    assert written("json", "debug", write) == ""


def test_libraries_leave_lost_connections_to_us() -> None:
    def write() -> None:
        for name in ("aiormq.connection", "aio_pika.channel", "sqlalchemy.pool.impl.QueuePool"):
            try:
                raise ConnectionError("reset by peer")
            except ConnectionError:
                logging.getLogger(name).exception("Unexpected connection close")
        lost = ConnectionChanged(peer="broker", up=False, detail="reset by peer")
        logs.log_fact(lost)

    (record,) = records(write)
    assert "reset by peer" in json.dumps(record)


def test_colours_appear_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def text() -> str:
        return written("console", "info", lambda: logging.getLogger("x").info("hello"))

    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert "\x1b" not in text()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in text()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in text()


def test_a_level_silences_what_is_below_it() -> None:
    fact = SagaAdvanced(saga_id="s", saga_type="Order", state="pending", moves=())
    assert lines_of(fact, log_level="warning") == []


def test_a_saga_that_advances_is_one_line_with_old_and_new() -> None:
    (record,) = lines_of(
        SagaAdvanced(
            saga_id="order-42",
            saga_type="Order",
            state="pending",
            moves=(
                StepMoved(step="reserve", before="executing", after="completed"),
                StepMoved(step="pay", before="pending", after="executing", attempt=2, note="again"),
            ),
        ),
        log_level="debug",
    )
    assert record["level"] == "debug"
    assert (record["saga_id"], record["saga_type"], record["state"]) == (
        "order-42",
        "Order",
        "pending",
    )
    assert record["step"] == "reserve, pay"
    assert (
        record["moves"]
        == "reserve: executing -> completed; pay: pending -> executing (attempt 2, again)"
    )
    assert "error" not in record


@pytest.mark.parametrize(
    ("state", "is_new", "level"),
    [
        ("started", True, "info"),
        ("pending", False, "debug"),
        ("compensating", False, "info"),
        ("failed", False, "info"),
        ("completed", False, "info"),
    ],
)
def test_each_step_forward_is_only_for_whoever_asks(state: str, is_new: bool, level: str) -> None:
    fact = SagaAdvanced(saga_id="s", saga_type="Order", state=state, moves=(), is_new=is_new)
    (record,) = lines_of(fact, log_level="debug")
    assert record["level"] == level


def test_of_a_thousand_sagas_that_do_well_a_hundred_are_written() -> None:
    ended = SagaAdvanced(saga_id="s", saga_type="Order", state="completed", moves=())
    moments = iter([0.0] * 1000 + [2.0])
    log = FactLog(clock=lambda: next(moments))
    records = lines_of(*[ended] * 1001, log=log)
    assert len(records) == 101
    assert "more" in records[99]
    assert records[100]["suppressed"] == 900


def test_failures_are_all_written() -> None:
    failed = StepMoved(step="pay", before="executing", after="failed", error="no money")
    advanced = SagaAdvanced(saga_id="s", saga_type="Order", state="compensating", moves=(failed,))
    log = FactLog(clock=lambda: 0.0)
    assert len(lines_of(*[advanced] * 300, log=log)) == 300


def test_failures_and_retries_are_warnings() -> None:
    failed = StepMoved(
        step="pay", before="executing", after="failed", error="no money", actor="ann"
    )
    advanced = SagaAdvanced(saga_id="s", saga_type="Order", state="compensating", moves=(failed,))
    retried = SagaAdvanced(
        saga_id="s",
        saga_type="Order",
        state="compensating",
        moves=(),
        compensation_retries=("pay",),
    )
    first, second = lines_of(advanced, retried)
    assert (first["level"], first["error"]) == ("warning", "no money")
    assert first["moves"] == "pay: executing -> failed (by ann)"
    assert (second["level"], second["retries"]) == ("warning", "pay")


def test_a_long_error_is_cut() -> None:
    (record,) = lines_of(DeadLettered(reason="compensation", error="x" * 4000))
    assert len(record["error"]) == 501


def test_a_flood_of_bad_messages_is_ten_lines_a_second_and_a_count() -> None:
    now = 100.0
    log = FactLog(clock=lambda: now)
    bad = MessageRejected(queue="saga.replies", reason="bad_json", detail="x")
    flood = lines_of(*[bad] * 1000, log=log)
    assert len(flood) == 10
    assert flood[-1]["more"] == "further ones are not written for a second"
    other = MessageRejected(queue="saga.replies", reason="unknown_saga", detail="x")
    assert len(lines_of(other, log=log)) == 1
    now += 1
    (next_one,) = lines_of(bad, log=log)
    assert next_one["suppressed"] == 990


LEVELS: list[tuple[Fact, str | None]] = [
    (LateReply(saga_id="s", saga_type="T", step="p", kind="duplicate"), "info"),
    (LateReply(saga_id="s", saga_type="T", step="p", kind="late_success"), "warning"),
    (DeadLettered(reason="compensation"), "warning"),
    (BatchCommitted(size=1), "debug"),
    (BatchPublished(size=1, took=timedelta(seconds=1)), "debug"),
    (BatchPublished(size=1, took=timedelta(seconds=1), unknown=1), "warning"),
    (ConnectionChanged(peer="broker", up=True), "info"),
    (ConnectionChanged(peer="broker", up=False, detail="reset"), "warning"),
    (GaugeMeasured(name="saga_stuck_count"), None),
    (Noticed(level="error", message="odd", details={"event": "x", "level": "y"}), "error"),
]


@pytest.mark.parametrize(("fact", "level"), LEVELS)
def test_every_kind_of_fact_has_its_level(fact: Fact, level: str | None) -> None:
    assert [record["level"] for record in lines_of(fact)] == ([] if level is None else [level])


HANDLED = CommandHandled(
    participant="Payment",
    command="Charge",
    direction="action",
    outcome="completed",
    saga_id="s-1",
    step="pay",
    attempt=1,
    took=timedelta(seconds=0.5),
)


@pytest.mark.parametrize(("error", "level"), [(None, "info"), ("no money", "warning")])
def test_a_handled_command_is_one_line(error: str | None, level: str) -> None:
    (record,) = lines_of(replace(HANDLED, error=error))
    assert (record["level"], record["command"], record["seconds"]) == (level, "Payment.Charge", 0.5)


def test_of_a_thousand_commands_a_hundred_are_written_and_all_failures() -> None:
    log = FactLog(clock=lambda: 0.0)
    assert len(lines_of(*[HANDLED] * 1000, log=log)) == 100
    assert len(lines_of(*[replace(HANDLED, error="no money")] * 300, log=log)) == 300


def test_the_traceback_of_a_handler_is_written_whole() -> None:
    traceback = "Traceback (most recent call last):\n" + "  in act\n" * 200
    (record,) = lines_of(replace(HANDLED, error="KeyError: 'x'", traceback=traceback))
    assert record["exception"] == traceback


def test_a_peer_that_stays_away_is_a_line_a_minute() -> None:
    now = 100.0
    log = FactLog(clock=lambda: now)
    away = ConnectionChanged(peer="broker", up=False, detail="refused")
    (first,) = lines_of(*[away] * 20, log=log)
    assert "saga doctor" in first["more"]
    assert len(lines_of(replace(away, detail="reset"), log=log)) == 1
    now += 61
    assert len(lines_of(*[away] * 20, log=log)) == 1
    back = replace(away, up=True)
    assert [each["event"] for each in lines_of(back, away, log=log)] == [
        "connected",
        "connection lost",
    ]


def test_a_rejected_message_names_its_saga() -> None:
    fact = MessageRejected(queue="q", reason="unknown_command", detail="x", saga_id="order-42")
    assert lines_of(fact)[0]["saga_id"] == "order-42"
