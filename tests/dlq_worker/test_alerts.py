"""One alert for each thing, to every sink, until somebody has it; and never twice in a round."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from dlq_stories import NAMES, REFUND_FAILED, Facts, delivered, exhausted, letter, saga_after, until
from http_receiver import receiving

from chassis.facts import Noticed
from chassis.pacing import Pace, Reachability
from dlq_worker import letters
from dlq_worker.alerts import (
    DueDelivery,
    begin_rounds,
    call_person,
    close_alert,
    count_interventions,
    settle_delivery,
    take_due_deliveries,
)
from dlq_worker.deliveries import Courier
from dlq_worker.letter import DeadLetter, read_letter
from dlq_worker.notices import Notice
from dlq_worker.operations import acknowledge
from dlq_worker.sinks.port import Sink, SinkFailed
from dlq_worker.sinks.webhook import WebhookSink
from dlq_worker.statuses import Severity, Status
from dlq_worker.tables import alert_deliveries, alerts
from messaging.errors import Refused
from orchestrator.store.database import DatabaseStore, DatabaseTransaction

pytest_plugins = ["conformance.store_fixtures"]

HOUR = timedelta(hours=1)
NO_TIME = timedelta(0)
TICK = timedelta(milliseconds=20)


class Memory:
    """A sink that remembers. `failures` are raised in turn."""

    def __init__(self, name: str = "memory", failures: Sequence[Exception] = ()) -> None:
        self.name = name
        self.sent: list[Notice] = []
        self.failures = list(failures)
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, notice: Notice) -> None:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(notice)


def refund_letter(saga_id: str = "order-1") -> DeadLetter:
    return read_letter(delivered(exhausted(saga_after(*REFUND_FAILED, saga_id=saga_id))), NAMES)


def garbage(message_id: str) -> DeadLetter:
    return letter(
        "rejected.saga.replies", b"{", headers={"saga-reason": "bad_json"}, message_id=message_id
    )


async def alerted(
    store: DatabaseStore, dead: DeadLetter, severity: Severity = Severity.CRITICAL
) -> int:
    """Keep the letter and call a person for it."""
    async with store.transaction() as transaction:
        letter_id = await letters.keep(transaction, dead, is_repeated=False)
        assert letter_id
        await _called(transaction, letter_id, severity)
        return letter_id


async def _called(
    transaction: DatabaseTransaction, letter_id: int, severity: Severity = Severity.CRITICAL
) -> None:
    stored = await letters.lock_letter(transaction, letter_id)
    assert stored
    await call_person(transaction, stored, "why", severity)


async def closed(store: DatabaseStore, letter_id: int) -> None:
    async with store.transaction() as transaction:
        stored = await letters.lock_letter(transaction, letter_id)
        assert stored
        await letters.close(transaction, letter_id, Status.RESOLVED, by="x", reason="y")
        await close_alert(transaction, stored.alert_key)


async def sent_once(store: DatabaseStore, sink: Memory, repeat: timedelta = HOUR) -> None:
    """Begin the rounds that are due, and deliver them to one sink."""
    await begin_rounds(store, [sink.name], repeat)
    for delivery in await take(store, sink.name):
        await sink.send(delivery.notice)
        await settle_delivery(store, delivery, error=None, retry=HOUR)


async def take(store: DatabaseStore, sink: str) -> Sequence[DueDelivery]:
    return await take_due_deliveries(store, sink, limit=100, lease=HOUR, console_url="http://c/")


@asynccontextmanager
async def delivering(
    store: DatabaseStore, facts: Facts, *sinks: Sink, timeout: float = 5
) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    pace = Pace(stopping, Reachability(facts))
    running = [
        asyncio.create_task(
            Courier(
                sink,
                store,
                observe=facts,
                timeout=timedelta(seconds=timeout),
                console_url=None,
            ).run(pace, TICK, asyncio.Event())
        )
        for sink in sinks
    ]
    yield
    stopping.set()
    await asyncio.gather(*running)


async def test_an_alert_tells_what_happened_and_how_to_go_on(store: DatabaseStore) -> None:
    letter_id, sink = await alerted(store, refund_letter()), Memory()
    await sent_once(store, sink)
    (notice,) = sink.sent
    assert notice.title == "compensation exhausted: step pay of saga Order order-1"
    assert (notice.summary, notice.error) == ("why", "gateway 17 said 503")
    assert notice.link == f"http://c/dead-letters/{letter_id}"
    assert f"saga dlq retry {letter_id}" in notice.commands
    assert "4111" not in str(notice.to_json()), "the saga's data is nobody's business"


async def test_one_step_of_a_saga_has_one_alert_however_often_it_is_raised(
    store: DatabaseStore,
) -> None:
    letter_id, sink = await alerted(store, refund_letter()), Memory()
    for _ in range(3):
        async with store.transaction() as transaction:
            await _called(transaction, letter_id)
        await sent_once(store, sink)
    assert len(sink.sent) == 1


async def test_a_thousand_messages_of_one_signature_have_one_alert(store: DatabaseStore) -> None:
    for n in range(20):
        await alerted(store, garbage(f"m{n}"), Severity.WARNING)
    sink = Memory()
    await sent_once(store, sink)
    (notice,) = sink.sent
    assert notice.letters == 20
    assert await count_interventions(store) == 0, "nobody has to act"


async def test_a_flood_of_ever_new_causes_ends_in_one_alert(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlq_worker.alerts.MAX_SIGNATURES", 3)
    for word in ("ada", "bob", "cyd", "dan", "eve", "ada"):
        headers = {"saga-reason": "bad_json", "saga-error": word}
        flood = letter("rejected.saga.replies", word.encode(), headers=headers)
        await alerted(store, replace(flood, key=f"{word} {time.monotonic_ns()}"), Severity.WARNING)
    saga = await alerted(store, refund_letter())
    sink = Memory()
    await sent_once(store, sink)
    counts = {notice.title: notice.letters for notice in sink.sent if not notice.is_about_step}
    assert [notice.letters for notice in sink.sent] == [2, 1, 1, 2, 1]
    assert counts["dead letters of many other causes"] == 2
    assert sink.sent[-1].letter_id == saga, "sagas always have their own"


async def test_an_alert_is_repeated_until_somebody_acknowledges_it(store: DatabaseStore) -> None:
    letter_id, sink = await alerted(store, refund_letter()), Memory()
    await sent_once(store, sink, repeat=NO_TIME)
    await sent_once(store, sink, repeat=NO_TIME)
    await acknowledge(store, letter_id, by="anna")
    await sent_once(store, sink, repeat=NO_TIME)
    assert [notice.round for notice in sink.sent] == [1, 2]
    assert await count_interventions(store) == 1, "it is acknowledged, not done"
    with pytest.raises(Refused):
        await acknowledge(store, letter_id, by="anna")


async def test_within_a_round_nothing_is_sent_twice(store: DatabaseStore) -> None:
    await alerted(store, refund_letter())
    sink = Memory()
    for _ in range(5):
        await sent_once(store, sink)
    assert len(sink.sent) == 1


async def test_what_was_sent_is_not_due_again_in_its_round(store: DatabaseStore) -> None:
    await alerted(store, refund_letter())
    await begin_rounds(store, ["a", "b"], HOUR)
    (sent,), (failed,) = await take(store, "a"), await take(store, "b")
    await settle_delivery(store, sent, error=None, retry=NO_TIME)
    await settle_delivery(store, failed, error="no", retry=NO_TIME)
    assert await take(store, "a") == []
    (again,) = await take(store, "b")
    assert (again.attempts, again.notice.id) == (1, failed.notice.id)


async def test_what_waits_for_a_sink_is_not_sent_once_somebody_has_acknowledged_it(
    store: DatabaseStore,
) -> None:
    letter_id = await alerted(store, refund_letter())
    await begin_rounds(store, ["memory"], HOUR)
    await acknowledge(store, letter_id, by="anna")
    assert await take(store, "memory") == []


async def test_whoever_was_told_is_told_that_it_is_over(store: DatabaseStore) -> None:
    letter_id, told, untold = await alerted(store, refund_letter()), Memory("a"), Memory("b")
    await sent_once(store, told)
    await closed(store, letter_id)
    await begin_rounds(store, ["a", "b"], HOUR)
    assert await take(store, untold.name) == []
    (delivery,) = await take(store, told.name)
    assert delivery.notice.is_resolved
    assert delivery.notice.closed_at is not None
    assert await count_interventions(store) == 0


async def test_an_alert_that_is_over_before_it_was_sent_is_never_sent(
    store: DatabaseStore,
) -> None:
    letter_id, sink = await alerted(store, refund_letter()), Memory()
    await closed(store, letter_id)
    await sent_once(store, sink)
    assert sink.sent == []


async def test_an_alert_for_many_letters_is_over_with_the_last_of_them(
    store: DatabaseStore,
) -> None:
    ids = [await alerted(store, garbage(f"m{n}"), Severity.WARNING) for n in range(2)]
    sink = Memory()
    await sent_once(store, sink)
    await closed(store, ids[0])
    await sent_once(store, sink)
    assert [notice.is_resolved for notice in sink.sent] == [False]
    await closed(store, ids[1])
    await sent_once(store, sink)
    assert [notice.is_resolved for notice in sink.sent] == [False, True]


async def test_an_alert_that_comes_back_is_sent_again_under_its_old_key(
    store: DatabaseStore,
) -> None:
    letter_id, sink = await alerted(store, refund_letter()), Memory()
    await sent_once(store, sink)
    await closed(store, letter_id)
    await sent_once(store, sink)
    async with store.transaction() as transaction:
        await letters.change(transaction, letter_id, status=Status.OPEN.value)
        await _called(transaction, letter_id)
    await sent_once(store, sink)
    assert [notice.is_resolved for notice in sink.sent] == [False, True, False]
    assert len({notice.key for notice in sink.sent}) == 1
    assert len({notice.id for notice in sink.sent}) == 3


async def test_a_sink_that_fails_gets_it_later_and_holds_nobody(
    store: DatabaseStore, facts: Facts
) -> None:
    await alerted(store, refund_letter())
    good, bad = Memory("good"), Memory("bad", [SinkFailed("no", is_final=True)])
    hanging = Memory("hanging")
    hanging.gate.clear()
    await begin_rounds(store, ["good", "bad", "hanging"], HOUR)
    async with delivering(store, facts, good, bad, hanging):
        await until(lambda: _has(good, 1))
        await until(lambda: _row(store, "bad", alert_deliveries.c.error == "no"))
        hanging.gate.set()
        await until(lambda: _has(hanging, 1))
        assert bad.sent == []
        await _make_due(store, "bad")
        await until(lambda: _has(bad, 1))
    assert len(good.sent) == 1
    warnings = [fact for fact in facts.seen if isinstance(fact, Noticed)]
    assert [(fact.message, fact.details["sink"]) for fact in warnings] == [
        ("alert not delivered", "bad")
    ]


async def test_a_short_outage_of_a_receiver_is_overcome_at_once(
    store: DatabaseStore, facts: Facts
) -> None:
    await alerted(store, refund_letter())
    await begin_rounds(store, ["webhook"], HOUR)
    with receiving() as receiver:
        receiver.answers = [503, 503]
        sink = WebhookSink(receiver.url, secret=None, timeout=5, clock=lambda: 0)
        async with delivering(store, facts, sink, timeout=20):
            await until(lambda: _row(store, "webhook", alert_deliveries.c.ok))
        keys = [post.headers["Idempotency-Key"] for post in receiver.posts]
    assert len(keys) == 3
    assert len(set(keys)) == 1, "the receiver can tell that it is one alert"


async def test_a_library_that_breaks_does_not_end_the_worker(
    store: DatabaseStore, facts: Facts
) -> None:
    await alerted(store, refund_letter())
    sink = Memory("odd", [RuntimeError("password is s3cret")])
    await begin_rounds(store, ["odd"], HOUR)
    async with delivering(store, facts, sink):
        await until(lambda: _row(store, "odd", alert_deliveries.c.error.is_not(None)))
        row = await _row(store, "odd", sa.true())
    assert row.error == "unexpected RuntimeError"


async def test_a_crash_before_anything_was_sent_sends_it_after_the_restart(
    store: DatabaseStore, facts: Facts
) -> None:
    await alerted(store, refund_letter())
    await begin_rounds(store, ["memory"], HOUR)
    (lost,) = await take(store, "memory")  # and the worker dies
    assert await take(store, "memory") == [], "nobody else takes it while it may be under way"
    await _make_due(store, "memory")  # the lease is over
    sink = Memory()
    async with delivering(store, facts, sink):
        await until(lambda: _has(sink, 1))
    assert sink.sent[0].id == lost.notice.id


async def test_two_workers_send_every_alert_once(store: DatabaseStore, facts: Facts) -> None:
    for n in range(10):
        await alerted(store, refund_letter(f"order-{n}"))
    one, two = Memory("shared"), Memory("shared")
    for _ in range(2):
        await begin_rounds(store, ["shared"], HOUR)
    async with delivering(store, facts, one, two):
        await until(lambda: _has_both(one, two, 10))
    ids = [notice.id for notice in (*one.sent, *two.sent)]
    assert len(ids) == len(set(ids)) == 10


async def test_a_worker_that_is_to_stop_does_not_wait_for_a_receiver(
    store: DatabaseStore, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlq_worker.deliveries._GRACE", 0.1)
    await alerted(store, refund_letter())
    await begin_rounds(store, ["memory"], HOUR)
    sink = Memory()
    sink.gate.clear()
    async with asyncio.timeout(10), delivering(store, facts, sink):
        await until(lambda: _row(store, "memory", alert_deliveries.c.due_at.is_not(None)))
    assert sink.sent == []


async def _has(sink: Memory, count: int) -> bool:
    return len(sink.sent) == count


async def _has_both(one: Memory, two: Memory, count: int) -> bool:
    return len(one.sent) + len(two.sent) == count


async def _row(store: DatabaseStore, sink: str, condition: sa.ColumnElement[bool]) -> Any:
    query = sa.select(alert_deliveries).where(alert_deliveries.c.sink == sink, condition)
    async with store.reading() as connection:
        return (await connection.execute(query)).first()


async def _make_due(store: DatabaseStore, sink: str) -> None:
    """Let the time pass until what is pending for this sink is due."""
    async with store.transaction() as transaction:
        pending = sa.update(alert_deliveries).where(
            alert_deliveries.c.sink == sink, alert_deliveries.c.due_at.is_not(None)
        )
        await transaction.execute(pending.values(due_at=transaction.now))


async def test_an_alert_row_keeps_how_often_it_was_sent(store: DatabaseStore) -> None:
    await alerted(store, refund_letter())
    sink = Memory()
    await sent_once(store, sink, repeat=NO_TIME)
    await sent_once(store, sink, repeat=HOUR)
    async with store.reading() as connection:
        row = (await connection.execute(sa.select(alerts))).one()
    assert row.times_sent == 2
    assert row.next_send_at == row.last_sent_at + HOUR
