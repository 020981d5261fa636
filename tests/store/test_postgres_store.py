"""What only Postgres does: locks of rows, many workers, connections that die."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import text
from store.sagas import advanced, decided, insert, insert_due, load, now, running

from chassis.patience import ImpatientConnection
from messaging.errors import Unavailable
from orchestrator.store import postgres
from orchestrator.store.listener import CHANNEL
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.sqlite import SqliteStore
from tests.faults.proxy import FaultProxy

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(empty_database_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    yield store
    await store.close()


async def _rows(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await (await connection.execute(query, values)).fetchall()


async def test_due_sagas_that_another_holds_are_skipped(store: PostgresStore) -> None:
    async with store.transaction() as first:
        await insert_due(first, "a", "b", "c")
    async with store.transaction() as first, store.transaction() as second:
        assert list(await first.lock(["a"])) == ["a"]
        assert [saga.saga_id for saga in await second.lock_due(9, [])] == ["b", "c"]


async def test_inserts_of_the_same_ids_in_any_order_do_not_deadlock(
    store: PostgresStore, empty_database_url: str
) -> None:
    at = await now(store)

    async def insert_backwards() -> set[str]:
        async with store.transaction() as transaction:
            return set(await transaction.insert([decided(running(each, at)) for each in "cba"]))

    async with store.transaction() as transaction:
        await transaction.insert([decided(running("a", at))])
        backwards = asyncio.create_task(insert_backwards())
        await _until_somebody_waits_for_a_lock(empty_database_url)
        await transaction.insert([decided(running("c", at))])
    assert await backwards == {"a", "c"}


async def test_a_server_that_falls_silent_is_unavailable_soon(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(empty_database_url)
    async with FaultProxy(parts.hostname or "", parts.port or 5432) as proxy:
        store = PostgresStore(f"{proxy.url(empty_database_url)}?connect_timeout=2")
        await store.upgrade()
        monkeypatch.setattr(ImpatientConnection, "patience", 0.5)
        proxy.freeze()
        for _ in range(2):  # over the connection that it has, and over a new one
            with pytest.raises(Unavailable):
                await asyncio.wait_for(store.outlook(), 10)
        proxy.thaw()
        assert (await store.outlook()).next_wake_at is None
        await store.close()


async def test_whoever_sets_another_timeout_for_statements_is_waited_for(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImpatientConnection, "patience", 0.1)
    store = PostgresStore(f"{empty_database_url}?options=-c%20statement_timeout%3D5s")
    async with store.reading() as connection:
        await connection.execute(text("SELECT pg_sleep(0.3)"))
    await store.close()


async def test_a_lock_is_waited_for_two_seconds(store: PostgresStore) -> None:
    await insert(store, running("one", await now(store)))
    async with store.transaction() as holder:
        await holder.lock(["one"])
        began = time.monotonic()
        with pytest.raises(Unavailable, match="55P03"):
            await load(store, "one")
    assert 1.9 < time.monotonic() - began < 10


async def test_a_cancelled_wait_for_a_lock_leaves_a_working_store(
    store: PostgresStore, empty_database_url: str
) -> None:
    await insert(store, running("one", await now(store)))
    async with store.transaction() as holder:
        await holder.lock(["one"])
        waiter = asyncio.create_task(load(store, "one"))
        await _until_somebody_waits_for_a_lock(empty_database_url)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert await load(store, "one") is not None


async def test_every_session_has_its_timeouts(
    store: PostgresStore, empty_database_url: str
) -> None:
    async with store.reading() as connection:
        shown = {
            name: (await connection.exec_driver_sql(f"SHOW {name}")).scalar()
            for name in (
                *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"),
                *("application_name", "transaction_isolation", "timezone", "tcp_user_timeout"),
            )
        }
    assert shown == {
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "15s",
        "application_name": "countermand",
        "transaction_isolation": "read committed",
        "timezone": "UTC",
        "tcp_user_timeout": shown["tcp_user_timeout"],  # the client's end has its own
    }


async def test_a_killed_session_is_unavailable_and_the_next_transaction_works(
    store: PostgresStore, empty_database_url: str
) -> None:
    await insert(store, running("one", await now(store)))

    async def lose_the_session() -> None:
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["one"]))["one"]
            await _kill_sessions(empty_database_url)
            await transaction.save([advanced(saga, transaction.now)])

    with pytest.raises(Unavailable):
        await lose_the_session()
    saga = await load(store, "one")
    assert saga is not None
    assert saga.version == 1


async def test_connections_that_the_server_has_closed_meanwhile_are_not_used(
    store: PostgresStore, empty_database_url: str
) -> None:
    async with store.transaction(), store.transaction():
        pass
    await _kill_sessions(empty_database_url)
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    async with asyncio.timeout(10):
        while await _rows(empty_database_url, f"{others} AND pid <> pg_backend_pid()"):
            await asyncio.sleep(0)
    assert await load(store, "nobody") is None


async def test_a_waiter_survives_the_loss_of_its_connection(
    store: PostgresStore, empty_database_url: str
) -> None:
    async with asyncio.timeout(20):
        await store.wait_for_due(0.2)
        await _kill_sessions(empty_database_url)
        await store.wait_for_due(0.05)
        while not await _listeners(empty_database_url):
            await store.wait_for_due(0.05)
        await store.wait_for_due(0.05)
        waiter = asyncio.create_task(store.wait_for_due(30))
        async with store.transaction() as transaction:
            await transaction.notify()
        await waiter


async def test_one_listener_serves_all_waits_and_goes_with_the_store(
    store: PostgresStore, empty_database_url: str
) -> None:
    for timeout in (5, 0.02, 0.02):  # the first ends when it is connected
        await store.wait_for_due(timeout)
    assert await _listeners(empty_database_url) == 1
    await store.close()
    async with asyncio.timeout(10):
        while await _listeners(empty_database_url):
            await asyncio.sleep(0)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first word of each statement that is executed while the test runs."""
    seen: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def note(cursor: Any, query: Any, *more: Any, **named: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else str(query)
        seen.append(text.split()[0])
        return await execute(cursor, query, *more, **named)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", note)
    return seen


async def test_a_batch_takes_two_statements_however_large_it_is(
    store: PostgresStore, empty_database_url: str, statements: list[str]
) -> None:
    """The lock, and one for rows and history; COMMIT comes on top. So it is for sagas that
    another process has saved, and for its own."""
    at = await now(store)
    names = [f"saga-{number:03}" for number in range(100)]
    other = PostgresStore(empty_database_url)
    await insert(other, *(running(name, at) for name in names))
    await other.close()
    for _ in range(2):
        async with store.transaction() as transaction:
            statements.clear()
            found = await transaction.lock(names)
            await transaction.save([advanced(saga, at) for saga in found.values()])
            assert statements == ["SELECT", "WITH"]


async def test_both_databases_store_the_same_columns(
    store: PostgresStore, empty_database_url: str
) -> None:
    other = SqliteStore("sqlite://")
    await other.upgrade()
    query = "SELECT plan, steps, outbound, first_failure FROM sagas"
    at = await now(store)
    for each in (store, other):
        await insert(each, running("one", at))
    stored = await _rows(
        empty_database_url, query.replace("plan, steps", "plan::text, steps::text")
    )
    async with other.reading() as connection:
        kept = (await connection.exec_driver_sql(query)).all()
    await other.close()
    assert [tuple(row) for row in kept] == stored


async def test_an_insert_of_thousands_is_one_statement(store: PostgresStore) -> None:
    at = await now(store)
    async with store.transaction() as transaction:
        many = [decided(running(f"saga-{number}", at)) for number in range(3000)]
        assert not await transaction.insert(many)
    async with store.transaction() as transaction:
        assert len(await transaction.lock([each.saga.saga_id for each in many])) == 3000


async def test_a_connection_lost_before_the_first_statement_is_told_in_no_stack(
    store: PostgresStore,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    begin = postgres._begin

    async def begin_too_late(*given: Any) -> tuple[datetime, str]:
        await _kill_sessions(empty_database_url)
        return await begin(*given)

    with monkeypatch.context() as patch:
        patch.setattr(postgres, "_begin", begin_too_late)
        with pytest.raises(Unavailable):
            async with store.transaction():
                pass
    assert [record.message for record in caplog.records if record.name[:10] == "sqlalchemy"] == []
    assert await load(store, "nobody") is None


async def _kill_sessions(url: str) -> None:
    await _rows(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


async def _until_somebody_waits_for_a_lock(url: str) -> None:
    waiting = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        while not await _rows(url, waiting):
            pass


async def _listeners(url: str) -> int:
    found = await _rows(
        url,
        "SELECT 1 FROM pg_stat_activity WHERE query = %s AND datname = current_database()",
        f'LISTEN "{CHANNEL}"',
    )
    return len(found)
