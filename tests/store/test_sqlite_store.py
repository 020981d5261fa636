"""What only SQLite does: one writer, one file, and a database that nobody keeps."""

import asyncio
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store.sagas import advanced, decided, insert, load, now, running

from messaging.errors import ConfigurationError, Unavailable
from orchestrator.store.queries import show_saga
from orchestrator.store.sqlite import SqliteStore


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sagas.db"


async def _open(url: str) -> SqliteStore:
    store = SqliteStore(url)
    await store.upgrade()
    return store


async def test_a_database_that_nobody_keeps_is_a_file_until_it_is_closed() -> None:
    store = await _open("sqlite://")
    await insert(store, running("one", await now(store)))
    async with store.reading() as connection:
        (_, _, name), *_ = await connection.exec_driver_sql("PRAGMA database_list")
    assert Path(name).exists()
    await store.close()
    assert not Path(name).exists()


async def test_a_file_keeps_its_sagas_and_a_commit_survives_a_power_cut(url: str) -> None:
    store = await _open(url)
    saga = running("one", await now(store))
    await insert(store, saga)
    async with store.reading() as connection:
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == 2
    await store.close()
    again = await _open(url)
    assert await load(again, "one") == saga
    await again.close()


async def test_readers_do_not_wait_for_the_writer(url: str) -> None:
    store = await _open(url)
    saga = running("one", await now(store))
    await insert(store, saga)
    async with store.transaction() as transaction:
        await transaction.lock(["one"])
        await transaction.save([advanced(saga, transaction.now)])
        view = await show_saga(store, "one")
    assert view is not None
    assert view.version == 1
    await store.close()


async def test_two_programs_on_one_file_lose_no_update(url: str) -> None:
    first, second = await _open(url), await _open(url)
    await insert(first, running("one", await now(first), data={"count": 0}))

    async def count(store: SqliteStore) -> None:
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["one"]))["one"]
            data = {"count": saga.data["count"] + 1}
            await transaction.save([advanced(saga, transaction.now, data=data)])

    await asyncio.gather(*(count(store) for store in [first, second] * 10))
    saga = await load(first, "one")
    assert saga is not None
    assert saga.data == {"count": 20}
    await first.close()
    await second.close()


async def test_a_file_that_another_program_writes_to_is_waited_for_two_seconds(url: str) -> None:
    first, second = await _open(url), await _open(url)
    began = time.monotonic()
    async with first.transaction() as transaction:
        await transaction.insert([decided(running("one", transaction.now))])
        with pytest.raises(Unavailable, match="locked"):
            await now(second)
    assert 1.5 < time.monotonic() - began < 10
    await first.close()
    await second.close()


async def test_a_new_file_that_another_program_is_setting_up_can_be_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "sagas.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.execute("BEGIN IMMEDIATE")
        store = SqliteStore(f"sqlite:///{tmp_path}/sagas.db")
        with pytest.raises(ConfigurationError, match="saga db upgrade"):
            await store.check()
    await store.upgrade()
    await store.check()
    await store.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, this is no database. " * 50)
    store = SqliteStore(f"sqlite:///{path}")
    with pytest.raises(ConfigurationError, match="SAGA_DATABASE_URL"):
        await store.check()
    await store.close()


async def test_for_trials_everything_happens_by_another_clock(url: str) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    store = SqliteStore(url, clock=lambda: moment, is_durable=False)
    await store.upgrade()
    async with store.transaction() as transaction:
        assert transaction.now == moment
    async with store.reading() as connection:
        assert await store.now(connection) == moment
        result = await connection.exec_driver_sql("PRAGMA synchronous")
        assert result.scalar() == 0
    await store.close()
