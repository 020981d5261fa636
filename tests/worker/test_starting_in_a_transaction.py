"""A saga is asked for in the caller's own transaction: with it, or not at all."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session

from chassis.facts import SagaAdvanced
from messaging.errors import ConfigurationError, Conflict, DefinitionError, ProtocolError
from orchestrator import SagaOrchestrator, SagaStep, start_in, start_in_async
from tests.worker.stage import ON_SERVERS, Desk, Stage, Trip, until

ROME = {"to": "Rome", "seats": [1, 2], "note": "größer"}


@pytest.fixture
def engine(stage: Stage) -> Iterator[sa.Engine]:
    """The caller's own engine, with nothing of ours."""
    driver = stage.database_url.replace("postgresql:", "postgresql+psycopg:")
    engine = sa.create_engine(driver)
    yield engine
    engine.dispose()


@pytest.fixture
async def async_engine(stage: Stage) -> AsyncIterator[AsyncEngine]:
    url = stage.database_url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    yield engine
    await engine.dispose()


async def test_a_saga_begins_with_the_commit_and_works_to_its_end(
    stage: Stage, desk: Desk, engine: sa.Engine
) -> None:
    async with stage.working():
        with Session(engine) as session, session.begin():
            saga_id = start_in(session, Trip, ROME)
        flight = await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        assert await desk.ends(saga_id) == "completed"
    assert (flight.saga_id, flight.data) == (saga_id, ROME)


async def test_rolled_back_nothing_was_asked(stage: Stage, desk: Desk, engine: sa.Engine) -> None:
    with Session(engine) as session:
        saga_id = start_in(session, Trip, ROME, saga_id="trip-1")
        session.rollback()
    assert await desk.client.show(saga_id) is None


async def test_a_savepoint_takes_it_back_and_the_rest_stays(desk: Desk, engine: sa.Engine) -> None:
    with Session(engine) as session, session.begin():
        start_in(session, Trip, ROME, saga_id="kept")
        with session.begin_nested() as savepoint:
            start_in(session, Trip, ROME, saga_id="taken-back")
            savepoint.rollback()
    assert await desk.client.show("kept") is not None
    assert await desk.client.show("taken-back") is None


async def test_a_plain_connection_will_do(desk: Desk, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        saga_id = start_in(connection, Trip(), ROME)
    assert (await desk.show(saga_id)).data == ROME


async def test_it_shares_the_fate_of_asynchronous_work(
    desk: Desk, async_engine: AsyncEngine
) -> None:
    async with AsyncSession(async_engine) as session:
        await start_in_async(session, Trip, ROME, saga_id="rolled-back")
        await session.rollback()
        await start_in_async(session, Trip, ROME, saga_id="committed")
        await session.commit()
    async with async_engine.begin() as connection:
        await start_in_async(connection, "Trip", ROME, saga_id="by-connection")
    shown = [await desk.client.show(name) for name in ("rolled-back", "committed", "by-connection")]
    assert [view and view.state for view in shown] == [None, "started", "started"]


async def test_asked_again_changes_nothing_and_other_data_are_a_conflict(
    desk: Desk, engine: sa.Engine
) -> None:
    with Session(engine) as session, session.begin():
        start_in(session, Trip, ROME, saga_id="trip-1")
        assert start_in(session, Trip, ROME, saga_id="trip-1") == "trip-1"
    with Session(engine) as session, session.begin():
        assert start_in(session, Trip, ROME, saga_id="trip-1") == "trip-1"
        with pytest.raises(Conflict, match="trip-1 was started before"):
            start_in(session, Trip, {"to": "Oslo"}, saga_id="trip-1")
    assert await desk.client.start("Trip", ROME, saga_id="trip-1") == "trip-1"
    assert (await desk.show("trip-1")).version == 0


async def test_what_cannot_start_is_refused_at_once(desk: Desk, engine: sa.Engine) -> None:
    class Broken(SagaOrchestrator):
        saga_type = "Broken"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return [SagaStep("flight", "no command")]

    with Session(engine) as session:
        with pytest.raises(DefinitionError, match="no command"):
            start_in(session, Broken, ROME)
        with pytest.raises(DefinitionError, match="nobody flies there"):
            start_in(session, Trip, {"impossible": True})
        with pytest.raises(DefinitionError, match="subclass"):
            start_in(session, dict, ROME)  # type: ignore[arg-type]
        with pytest.raises(ProtocolError, match="saga_id"):
            start_in(session, Trip, {"saga_id": "mine"})
        with pytest.raises(ProtocolError, match="saga_id is 'a b'"):
            start_in(session, Trip, ROME, saga_id="a b")
        assert session.scalar(sa.text("SELECT count(*) FROM sagas")) == 0


async def test_the_wrong_one_of_the_two_says_which_is_right(
    engine: sa.Engine, async_engine: AsyncEngine
) -> None:
    async with AsyncSession(async_engine) as session:
        with pytest.raises(TypeError, match=r"await start_in_async"):
            start_in(session, Trip, ROME)  # type: ignore[arg-type]
    with Session(engine) as plain, pytest.raises(TypeError, match=r"call start_in"):
        await start_in_async(plain, Trip, ROME)  # type: ignore[arg-type]


@ON_SERVERS
async def test_another_database_is_named(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("DROP TABLE sagas"))
        with pytest.raises(ConfigurationError, match="no table sagas in 't_"):
            start_in(connection, Trip, ROME)


@ON_SERVERS
async def test_the_commit_is_heard_and_nothing_waits_for_a_poll(
    stage: Stage, desk: Desk, async_engine: AsyncEngine
) -> None:
    session_of = async_sessionmaker(async_engine)
    async with stage.working(poll_interval="60s"):
        took = []
        for number in range(7):
            async with session_of() as session:
                await start_in_async(session, Trip, ROME, saga_id=f"trip-{number}")
                await session.commit()
            committed = time.perf_counter()
            await desk.command("TestService")
            took.append(time.perf_counter() - committed)
    assert sorted(took)[3] < 0.25


@ON_SERVERS
async def test_it_is_held_back_as_other_starts_are_not_lost(
    stage: Stage, desk: Desk, serving: asyncio.Task[None], async_engine: AsyncEngine
) -> None:
    async with stage.working(admission_limit=2):
        async with AsyncSession(async_engine) as session, session.begin():
            for number in range(20):
                await start_in_async(session, Trip, ROME, saga_id=f"trip-{number}")
        for number in range(20):
            assert await desk.ends(f"trip-{number}") == "completed"
        await until(lambda: len({each.saga_id for each in stage.facts_of(SagaAdvanced)}) == 20)
