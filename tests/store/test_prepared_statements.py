"""What the driver has prepared on a connection may be gone: no message suffers for it."""

from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from store.recalling import Stores, begun, move, recall
from store.sagas import load

from messaging.errors import Unavailable

PREPARED_AFTER = 5  # times that the driver is asked for the same
pytestmark = pytest.mark.postgres


async def often(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The last answer, when the driver has prepared what is asked."""
    for _ in range(PREPARED_AFTER):
        await ask()
    return await ask()


async def test_a_table_that_was_changed_is_asked_over_another_connection(
    stores: Stores, empty_database_url: str
) -> None:
    first, second = stores
    await begun(first, "one")
    await often(lambda: load(second, "one"))
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute("ALTER TABLE sagas ALTER saga_type TYPE varchar(200)")
    with pytest.raises(Unavailable, match="must not change result type"):
        await load(second, "one")
    assert await load(second, "one")


async def test_another_s_prepared_statement_is_in_the_way_only_once(stores: Stores) -> None:
    """As behind a pooler that hands the server's connections out by the transaction."""
    first, _ = stores
    await begun(first, "one")
    async with first._kept.one() as line:
        for number in range(10):
            await line.driver.execute(f"PREPARE countermand_{number} AS SELECT 1".encode())
    with pytest.raises(Unavailable, match="pool sessions"):
        await often(lambda: move(first, "one"))
    assert await often(lambda: move(first, "one"))


async def test_a_question_of_another_kind_gives_up_its_connection_too(stores: Stores) -> None:
    first, _ = stores
    async with first.reading() as connection:
        for number in range(10):
            await connection.exec_driver_sql(f"PREPARE _pg3_{number} AS SELECT 1")
    with pytest.raises(Unavailable):
        await often(first.outlook)
    assert (await often(first.outlook)).next_wake_at is None


@pytest.mark.parametrize("untold", ["no_such_function()", "elsewhere.public.timeline()"])
async def test_a_server_that_does_not_tell_its_timeline_keeps_its_connection(
    stores: Stores, untold: str
) -> None:
    """The second fails as a changed table does, and nothing of it is prepared."""
    first, _ = stores
    first._epoch = untold
    await begun(first, "one")
    assert recall(first, "one").epoch.startswith("0-0-")
    assert await move(first, "one") == {"one"}
