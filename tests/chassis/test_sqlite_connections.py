"""A connection to SQLite that is closed lets go of its file, whatever was under way."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.sqlite import Connection
from orchestrator.store.engines import sqlite_engine
from participants.sql_engine import engine_for

_WRITE = "INSERT INTO notes VALUES (1) RETURNING note"
ENGINES: dict[str, Callable[[Path], AsyncEngine]] = {
    "store": lambda file: sqlite_engine(make_url(f"sqlite+aiosqlite:///{file}")),
    "inbox": lambda file: engine_for(f"sqlite:///{file}", 2),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        connection.execute("CREATE TABLE notes (note)")
    return tmp_path / "notes.db"


def _is_free(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


def test_an_answer_that_nobody_has_read_does_not_keep_the_lock(file: Path) -> None:
    connection = sqlite3.connect(file, factory=Connection, isolation_level=None)
    unread = connection.cursor()
    unread.execute("BEGIN IMMEDIATE")
    unread.execute(_WRITE)
    assert not _is_free(file)
    connection.close()
    assert _is_free(file)
    connection.close()


@pytest.mark.parametrize("engine_of", ENGINES.values(), ids=ENGINES)
async def test_a_task_that_is_cancelled_at_any_time_leaves_no_lock_behind(
    file: Path, engine_of: Callable[[Path], AsyncEngine]
) -> None:
    """The tasks are kept, and with them all that they refer to."""
    engine = engine_of(file)

    async def write() -> None:
        async with engine.begin() as connection:
            await connection.execute(text(_WRITE))

    cancelled = []
    for number in range(100):
        task = asyncio.create_task(write())
        await asyncio.sleep(number * 0.00002)
        task.cancel()
        await asyncio.wait([task])
        cancelled.append(task)
        assert await asyncio.to_thread(_is_free, file), number
    await engine.dispose()
    assert any(task.cancelled() for task in cancelled)
