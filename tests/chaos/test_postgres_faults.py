"""The faults of a running PostgreSQL do what their names say."""

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.chaos.postgres_faults import row_locked, slow_writes, terminating_sessions
from tests.faults.proxy import FaultProxy


@pytest.fixture
def url(empty_database_url: str) -> Iterator[str]:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (name text PRIMARY KEY, number int)")
        connection.execute("INSERT INTO numbers VALUES ('one', 1), ('two', 2)")
    return empty_database_url


async def test_a_commit_whose_answer_is_cut_off_has_happened(url: str) -> None:
    address = urlsplit(url)
    async with FaultProxy(address.hostname or "", address.port or 5432) as proxy:
        connection = await psycopg.AsyncConnection.connect(proxy.url(url))
        await connection.execute("UPDATE numbers SET number = 3")
        await connection.commit()
        await connection.execute("UPDATE numbers SET number = 4")
        proxy.cut_after(b"COMMIT", times=1)
        with pytest.raises(psycopg.OperationalError):
            await connection.commit()
        assert proxy.cuts_left == 0
        await connection.close()
    await _until_committed(url, [4, 4])


def test_sessions_of_ours_are_terminated_and_no_others(url: str) -> None:
    ours = psycopg.connect(url, autocommit=True, application_name="countermand")
    with psycopg.connect(url) as another, terminating_sessions(url, every=0.01) as ended:
        with pytest.raises(psycopg.OperationalError):
            _ask_for_ever(ours)
        assert another.execute("SELECT 1").fetchone() == (1,)
    assert sum(ended) >= 1


def test_a_locked_row_cannot_be_had_and_another_can(url: str) -> None:
    with (
        psycopg.connect(url, autocommit=True, options="-c lock_timeout=50") as connection,
        row_locked(url, "numbers", "name", ["one"]) as locked,
    ):
        assert locked == 1
        connection.execute("UPDATE numbers SET number = 5 WHERE name = 'two'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("UPDATE numbers SET number = 5 WHERE name = 'one'")
    assert _numbers(url) == [1, 5]


def test_writes_are_slow_for_a_while(url: str) -> None:
    with slow_writes(url, "numbers", seconds=0.1, each="ROW"):
        assert _seconds_of_update(url) >= 0.2
    assert _seconds_of_update(url) < 0.2


async def _until_committed(url: str, numbers: list[int]) -> None:
    """The server does not know yet that the client is gone, and may still be at it."""
    async with asyncio.timeout(5):
        while _numbers(url) != numbers:
            await asyncio.sleep(0.01)


def _ask_for_ever(connection: psycopg.Connection) -> None:
    while True:
        connection.execute("SELECT 1")


def _seconds_of_update(url: str) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        began = time.monotonic()
        connection.execute("UPDATE numbers SET number = 6")
        return time.monotonic() - began


def _numbers(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM numbers ORDER BY name")]
