"""Broker and database go away while sagas run; the worker waits, and goes on by itself."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest

from chassis.facts import BatchPublished, ConnectionChanged, Noticed
from messaging import codec
from messaging.memory import MemoryServer
from orchestrator.store.stores import store_for
from orchestrator.worker import batches, clock
from tests.faults.proxy import FaultProxy
from tests.worker.conftest import Places
from tests.worker.stage import (
    ON_EMBEDDED,
    ON_SERVERS,
    TOGETHER,
    Desk,
    Stage,
    reply_to,
    tolerated,
    until,
)

SAGAS = [f"trip-{number}" for number in range(40)]


@pytest.fixture
async def way_to_broker(places: Places) -> AsyncIterator[FaultProxy]:
    parts = urlsplit(places.amqp_url or "")
    async with FaultProxy(parts.hostname or "", parts.port or 5672) as proxy:
        yield proxy


@pytest.fixture
async def way_to_database(places: Places) -> AsyncIterator[FaultProxy]:
    parts = urlsplit(places.database_url)
    async with FaultProxy(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


async def start_all(desk: Desk) -> None:
    for saga_id in SAGAS:
        await desk.start(saga_id)


async def all_end(desk: Desk) -> bool:
    return {await desk.ends(saga_id) for saga_id in SAGAS} == {"completed"}


@ON_EMBEDDED
async def test_a_queue_that_takes_nothing_is_named(
    stage: Stage, desk: Desk, server: MemoryServer
) -> None:
    async with stage.working():
        await desk.start("trip-1")
        flight = await desk.command()
        await desk.answer(flight)
        server.refuse_publishes(3)
        await desk.command("OtherService")
    told = [each for each in stage.facts_of(Noticed) if "has not confirmed" in each.message]
    assert [each.details for each in told] == [
        {"messages": 1, "to": f"{stage.names.commands} OtherService.Book"}
    ] * len(told)
    assert told, "the first refusal may be a lost connection, the second is told"


@ON_EMBEDDED
async def test_the_embedded_broker_goes_away(
    stage: Stage, desk: Desk, server: MemoryServer, serving: object
) -> None:
    assert serving
    async with stage.working():
        await start_all(desk)
        server.go_down()
        await until(lambda: any(fact.unknown for fact in stage.facts_of(BatchPublished)))
        server.come_back()
        assert await all_end(desk)


@ON_SERVERS
async def test_rabbitmq_goes_away(
    stage: Stage, desk: Desk, places: Places, way_to_broker: FaultProxy, serving: object
) -> None:
    assert serving
    broker = stage.new_broker(way_to_broker.url(places.amqp_url or ""))
    async with stage.working(broker=broker):
        await start_all(desk)
        for _ in range(2):
            await way_to_broker.refuse()
            await until(lambda: not broker.is_ready())
            await way_to_broker.accept()
            await until(broker.is_ready)
        assert await all_end(desk)


@ON_SERVERS
async def test_replies_are_held_while_the_database_is_away(
    stage: Stage, desk: Desk, places: Places, way_to_database: FaultProxy
) -> None:
    store = store_for(way_to_database.url(places.database_url))
    async with stage.working(store=store) as worker:
        await desk.start("trip-1")
        flight = await desk.command("TestService")
        await way_to_database.refuse()
        await desk.send(codec.encode_reply(stage.names, reply_to(flight)))
        await until(lambda: worker.database.problem is not None)
        await way_to_database.accept()
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
        await until(lambda: worker.database.problem is None)
    await store.close()
    changes = [fact.up for fact in stage.facts_of(ConnectionChanged) if fact.peer == "database"]
    assert changes[:3] == [True, False, True]


@ON_SERVERS
async def test_connections_to_the_database_are_killed_again_and_again(
    stage: Stage, desk: Desk, places: Places, serving: object
) -> None:
    assert serving
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    store = store_for(places.database_url)
    async with stage.working(store=store):
        await start_all(desk)
        for _ in range(5):
            async with await psycopg.AsyncConnection.connect(places.database_url) as connection:
                await connection.execute(kill)
            await asyncio.sleep(0.1)  # the rhythm of the fault, not a wait for a fact
        ended = [await _ended(desk, saga_id) for saga_id in SAGAS]
    await store.close()
    assert set(ended) == {"completed"}


async def _ended(desk: Desk, saga_id: str) -> str:
    """Its state in the end; our own connections have been killed as well."""
    state: str = await tolerated(lambda: desk.ends(saga_id))
    return state


@ON_SERVERS
async def test_a_reply_that_waited_for_the_database_is_not_late(
    stage: Stage, desk: Desk, places: Places, way_to_database: FaultProxy
) -> None:
    store = store_for(way_to_database.url(places.database_url))
    async with stage.working(store=store) as worker:
        await desk.start("trip-1", "HastyTrip")
        await desk.carry_out("TestService")
        hotel = await desk.command("OtherService")
        await way_to_database.refuse()
        await desk.answer(hotel)
        await until(lambda: worker.database.problem is not None)
        assert hotel.deadline is not None
        await until(lambda: datetime.now(UTC) > hotel.deadline)
        await way_to_database.accept()
        assert await desk.ends("trip-1") == "completed"
    await store.close()


@ON_SERVERS
async def test_a_reply_that_waited_in_another_workers_hands_is_not_late(
    stage: Stage,
    desk: Desk,
    places: Places,
    way_to_database: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "backoff", lambda _: 10.0)  # who has it looks as late as may be
    monkeypatch.setattr(clock, "backoff", lambda _: 0.05)  # and the other at once
    stores = [store_for(way_to_database.url(places.database_url)) for _ in range(2)]
    before = TOGETHER - timedelta(milliseconds=1)
    async with (
        stage.working(store=stores[0], began=before) as older,
        stage.working(store=stores[1]) as younger,
    ):
        await desk.start("trip-1", "HastyTrip")
        await desk.carry_out("TestService")
        hotel = await desk.command("OtherService")
        await way_to_database.refuse()
        await desk.answer(hotel)
        await until(lambda: None not in {older.database.problem, younger.database.problem})
        assert hotel.deadline is not None
        await until(lambda: datetime.now(UTC) > hotel.deadline)
        await way_to_database.accept()
        assert await desk.ends("trip-1") == "completed"
    for store in stores:
        await store.close()
