"""The connections that stay taken out of the pool, and what becomes of them."""

import psycopg
import pytest
import sqlalchemy as sa
from store.recalling import Stores, begun, move, slow_move

from messaging.errors import Unavailable

pytestmark = pytest.mark.postgres


async def test_a_connection_lost_in_the_middle_leaves_it_open_and_the_next_is_another(
    stores: Stores, empty_database_url: str
) -> None:
    first, second = stores
    await begun(first, "one")
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(7)")
        moving = await slow_move(first, "one")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event = 'advisory'"
        )
        with pytest.raises(Unavailable):
            await moving
    first._at_once = second._at_once
    assert await move(first, "one") == {"one"}


async def test_a_connection_lost_while_idle_is_no_trouble(
    stores: Stores, empty_database_url: str
) -> None:
    first, _ = stores
    await begun(first, "one")
    assert await move(first, "one")
    async with first._kept.one() as driver:
        pid = driver.info.backend_pid
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert await move(first, "one") == {"one"}


async def test_two_connections_are_kept_until_the_end(stores: Stores) -> None:
    first, _ = stores
    await begun(first, "one")
    pool = first._engine.sync_engine.pool
    assert isinstance(pool, sa.QueuePool)
    async with first._kept.one() as one, first._kept.one() as two, first._kept.one() as three:
        assert len({one, two, three}) == 3
    assert pool.checkedout() == 2
    assert await move(first, "one")
    assert pool.checkedout() == 2
    await first.close()
    assert pool.checkedout() == 0
