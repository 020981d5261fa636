"""A database that is there and does not get to everything: the rest goes on."""

from collections.abc import AsyncIterator

import pytest

from chassis.facts import BatchCommitted, ConnectionChanged
from messaging import codec
from messaging.contract import Command
from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for
from tests.chaos.postgres_faults import row_locked, slow_writes
from tests.worker.stage import ON_SERVERS, Desk, Stage, reply_to

SAGAS = [f"trip-{number}" for number in range(8)]
pytestmark = ON_SERVERS


@pytest.fixture
async def hurried_store(stage: Stage) -> AsyncIterator[DatabaseStore]:
    """Whose statements may take half a second."""
    store = store_for(f"{stage.database_url}?options=-c%20statement_timeout%3D500ms")
    yield store
    await store.close()


async def started(desk: Desk) -> list[Command]:
    for saga_id in SAGAS:
        await desk.start(saga_id)
    return [await desk.command("TestService") for _ in SAGAS]


async def answer(stage: Stage, desk: Desk, commands: list[Command]) -> None:
    await desk.send(*(codec.encode_reply(stage.names, reply_to(each)) for each in commands))


async def test_a_locked_saga_waits_and_no_other_does(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        flights = await started(desk)
        with row_locked(stage.database_url, "sagas", "saga_id", ["trip-3"]):
            await answer(stage, desk, flights)
            others = [await desk.carry_out("OtherService") for _ in SAGAS[1:]]
            assert {each.saga_id for each in others} == {*SAGAS} - {"trip-3"}
            for saga_id in {*SAGAS} - {"trip-3"}:
                assert await desk.ends(saga_id) == "completed"
        assert (await desk.carry_out("OtherService")).saga_id == "trip-3"
        assert await desk.ends("trip-3") == "completed"
    assert [fact.up for fact in stage.facts_of(ConnectionChanged)] == [True]


async def test_a_single_reply_to_a_locked_saga_does_not_hold_up_the_next(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working():
        flights = await started(desk)
        with row_locked(stage.database_url, "sagas", "saga_id", [flights[0].saga_id]):
            await answer(stage, desk, flights[:1])
            await answer(stage, desk, flights[1:2])
            second = await desk.carry_out("OtherService")
            assert second.saga_id == flights[1].saga_id
            assert await desk.ends(second.saga_id) == "completed"


async def test_replies_that_take_too_long_together_are_taken_in_parts(
    stage: Stage, desk: Desk, hurried_store: DatabaseStore
) -> None:
    async with stage.working():
        flights = await started(desk)
    await answer(stage, desk, flights)
    with slow_writes(stage.database_url, "sagas", seconds=0.1, each="ROW"):
        async with stage.working(store=hurried_store):
            for _ in SAGAS:
                await desk.carry_out("OtherService")
            for saga_id in SAGAS:
                assert await desk.ends(saga_id) == "completed"
    assert max(fact.size for fact in stage.facts_of(BatchCommitted)) > 1


async def test_due_sagas_that_take_too_long_together_are_moved_singly(
    stage: Stage, desk: Desk, hurried_store: DatabaseStore
) -> None:
    for saga_id in SAGAS:
        await desk.client.start("Trip", {}, saga_id=saga_id)
    with slow_writes(stage.database_url, "sagas", seconds=0.1, each="ROW"):
        async with stage.working(store=hurried_store):
            commands = [await desk.command("TestService") for _ in SAGAS]
    assert {each.saga_id for each in commands} == {*SAGAS}
