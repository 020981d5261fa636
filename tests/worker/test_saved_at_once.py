"""Sagas that are decided from memory, by workers that share a database or die in between."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chassis.facts import SagaAdvanced
from messaging import codec
from messaging.contract import StartRequest
from orchestrator.store.stores import store_for
from tests.faults.brokers import MuteBroker
from tests.worker.stage import ON_SERVERS, Desk, Stage, statuses, until
from tests.worker.test_locks import Rebooking, lines
from tests.worker.watched import WatchedStore

pytestmark = ON_SERVERS
NewStore = Callable[[], Any]
LONG = {"poll_interval": "60s"}


@pytest.fixture
async def new_store(stage: Stage) -> AsyncIterator[NewStore]:
    """As a process has it that has just started: it remembers nothing yet."""
    async with AsyncExitStack() as opened:

        def new() -> Any:
            store = store_for(stage.database_url)
            opened.push_async_callback(store.close)
            return WatchedStore(store)

        yield new


async def is_unbroken(desk: Desk, saga_id: str) -> bool:
    history = (await desk.show(saga_id)).history
    return [line.version for line in history] == list(range(1, len(history) + 1))


async def test_a_saga_of_one_worker_is_never_locked(
    stage: Stage, desk: Desk, new_store: NewStore
) -> None:
    store = new_store()
    async with stage.working(store=store):
        await until(lambda: store.recalled(()) is not None)
        await desk.start("trip-1")
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
    assert store.at_once == ["trip-1"] * 3
    assert store.locked == []
    assert await is_unbroken(desk, "trip-1")
    assert sum(fact.is_new for fact in stage.facts_of(SagaAdvanced)) == 1


async def test_a_worker_whose_memory_is_old_decides_on_what_is_true(
    stage: Stage, desk: Desk, new_store: NewStore
) -> None:
    one, other = new_store(), new_store()
    async with stage.working(store=one):
        await desk.start("trip-1")
        flight = await desk.command("TestService")
    async with stage.working(store=other):
        await desk.answer(flight)
        hotel = await desk.command("OtherService")
    assert one.recalled({"trip-1"}).sagas["trip-1"].steps[0].status == "executing"
    one.at_once.clear()
    async with stage.working(store=one):
        await desk.answer(flight)  # again: for its memory the first answer to that step
        await desk.answer(hotel)
        assert await desk.ends("trip-1") == "completed"
    assert one.at_once == []
    assert statuses(await desk.show("trip-1")) == {"flight": "completed", "hotel": "completed"}
    assert await is_unbroken(desk, "trip-1")


async def test_two_workers_side_by_side_finish_every_saga(
    stage: Stage, desk: Desk, new_store: NewStore, serving: object
) -> None:
    assert serving
    stores = new_store(), new_store()
    sagas = [f"trip-{number}" for number in range(60)]
    async with stage.working(store=stores[0]), stage.working(store=stores[1]):
        for saga_id in sagas:
            await desk.start(saga_id)
        assert {await desk.ends(saga_id) for saga_id in sagas} == {"completed"}
    assert all(store.at_once for store in stores)
    assert all([await is_unbroken(desk, saga_id) for saga_id in sagas])


async def test_killed_after_the_statement_before_publishing(
    stage: Stage, desk: Desk, new_store: NewStore
) -> None:
    """The next worker finds the answer decided already, and sends what the saga owes."""
    store = new_store()
    async with stage.working(store=store):
        await desk.start("trip-1")
        flight = await desk.command("TestService")
    store.at_once.clear()
    mute = MuteBroker(stage.new_broker())
    async with stage.doomed(mute, store):
        await desk.answer(flight)
        await until(lambda: bool(mute.swallowed))
    assert store.at_once == ["trip-1"]
    async with stage.working(store=new_store()):
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
    assert await is_unbroken(desk, "trip-1")


async def test_a_start_under_locks_is_never_saved_at_once(
    stage: Stage, desk: Desk, new_store: NewStore
) -> None:
    """Nor with another start of the same id, that has none."""
    stage.definitions += (Rebooking(),)
    store = new_store()
    await desk.start("one", "Rebooking", trips=["a"])
    async with stage.working(store=store, **LONG):
        await desk.command()
        requests = [
            StartRequest(saga_type=saga_type, saga_id="two", data={"trips": ["b"]})
            for saga_type in ("Rebooking", "Trip")
        ]
        await desk.send(*(codec.encode_start(stage.names, each) for each in requests))
        await desk.command()
        letter = await desk.dead_letter()
    assert letter.headers["saga-reason"] == "start_conflict"
    assert await lines(stage) == [("trip:a", "one", True), ("trip:b", "two", True)]
    assert store.at_once == []
