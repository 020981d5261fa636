"""Connections that stay taken out for what is saved at once."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from store.recalling import begun, move

from orchestrator.store.engines import database_url_of, postgres_engine
from orchestrator.store.kept import Kept
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.statements import Driver

pytestmark = pytest.mark.postgres


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = postgres_engine(database_url_of(empty_database_url), isolation_level="AUTOCOMMIT")
    yield engine
    await engine.dispose()


async def test_a_connection_is_taken_out_once(engine: AsyncEngine) -> None:
    kept = Kept(engine)
    async with kept.one() as line:
        first = line.driver.info.backend_pid
    async with kept.one() as line:
        assert line.driver.info.backend_pid == first
    await kept.close()


async def test_two_are_kept_and_a_third_is_not(engine: AsyncEngine) -> None:
    kept = Kept(engine)
    async with kept.one(), kept.one(), kept.one():
        assert taken_out(engine) == 3
    assert taken_out(engine) == 2
    await kept.close()
    assert taken_out(engine) == 0


async def test_after_an_error_a_connection_is_kept_no_longer(engine: AsyncEngine) -> None:
    kept = Kept(engine)
    with pytest.raises(ZeroDivisionError):
        async with kept.one():
            raise ZeroDivisionError
    assert taken_out(engine) == 0


async def test_one_that_the_server_has_closed_is_replaced(engine: AsyncEngine) -> None:
    kept = Kept(engine)
    async with kept.one() as line:
        first = line.driver.info.backend_pid
    async with engine.connect() as other:
        await other.exec_driver_sql(f"SELECT pg_terminate_backend({first}, 5000)")
    async with kept.one() as line:
        assert line.driver.info.backend_pid != first
        assert await setting_of(line.driver) == "off"
    await kept.close()


async def test_only_these_avoid_to_read_whole_tables(engine: AsyncEngine) -> None:
    kept = Kept(engine)
    async with kept.one() as line:
        assert await setting_of(line.driver) == "off"
    await kept.close()
    async with engine.connect() as other:
        setting = await other.exec_driver_sql("SHOW enable_seqscan")
        assert setting.scalar_one() == "on"


async def test_what_is_saved_over_them_is_not_planned_each_time(empty_database_url: str) -> None:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    await begun(store, *(f"saga-{number}" for number in range(50)))
    async with store.reading() as connection:
        await connection.exec_driver_sql("ANALYZE sagas")  # now it would seem to be worth it
    for _ in range(20):
        assert await move(store, "saga-7") == {"saga-7"}
    async with store._kept.one() as line:
        asked = "SELECT custom_plans, generic_plans FROM pg_prepared_statements"
        [(custom, generic)] = await (await line.driver.execute(asked)).fetchall()
    await store.close()
    assert custom == 0
    assert generic > 10


def taken_out(engine: AsyncEngine) -> int:
    pool = engine.sync_engine.pool
    return pool.checkedout()  # type: ignore[attr-defined]  # of pools with a queue


async def setting_of(driver: Driver) -> str:
    row = await (await driver.execute("SHOW enable_seqscan")).fetchone()
    assert row is not None
    return str(row[0])
