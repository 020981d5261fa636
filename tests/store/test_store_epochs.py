"""A standby takes over, a table is made anew, a server crashes: which of them is another epoch."""

from collections.abc import Iterator

import psycopg
import pytest
from servers.postgres import postgres_programs
from store.sagas import insert, now, running

from messaging.errors import Unavailable
from orchestrator.store.database import DatabaseStore
from orchestrator.store.postgres import PostgresStore
from tests.chaos.postgres_servers import ChaosPostgres, PostgresPair

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not postgres_programs(), reason="no postgres on this machine"),
]


@pytest.fixture
def pair() -> Iterator[PostgresPair]:
    with PostgresPair() as servers:
        yield servers


async def looked_at(url: str) -> tuple[str, bool, int]:
    """The epoch, whether the saga is in doubt, and how many can be woken."""
    store: DatabaseStore = PostgresStore(url)
    async with store.transaction() as transaction:
        saga = (await transaction.lock(["one"]))["one"]
        woken = await transaction.wake_doubtful(9)
        epoch = transaction.epoch
    await store.close()
    return epoch, saga.in_doubt, woken


async def test_a_promotion_is_another_epoch_and_a_crash_is_not(pair: PostgresPair) -> None:
    store = PostgresStore(pair.url)
    await store.upgrade()
    async with store.transaction() as transaction:
        first = transaction.epoch
    await insert(store, running("one", await now(store), epochs=(first,)))
    await store.close()

    pair.current.kill()
    pair.start()
    assert await looked_at(pair.url) == (first, False, 0)

    pair.lag()
    pair.take_over()
    pair.promote()
    second, in_doubt, woken = await looked_at(pair.url)
    assert second != first
    assert second.split("-")[1:] == first.split("-")[1:]  # the same server, on another timeline
    assert (in_doubt, woken) == (True, 1)


async def test_while_the_standby_only_reads_there_is_no_transaction_to_trust(
    pair: PostgresPair,
) -> None:
    store = PostgresStore(pair.url)
    await store.upgrade()
    await store.close()
    pair.take_over()
    store = PostgresStore(pair.url)
    with pytest.raises(Unavailable):
        async with store.transaction():
            pass
    with pytest.raises(Unavailable):
        await store.outlook()
    await store.close()


async def test_a_table_made_anew_is_another_epoch(empty_database_url: str) -> None:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    async with store.transaction() as transaction:
        first = transaction.epoch
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE copy (LIKE sagas INCLUDING ALL)")
        connection.execute("DROP TABLE sagas")
        connection.execute("ALTER TABLE copy RENAME TO sagas")
    async with store.transaction() as transaction:
        assert transaction.epoch.rpartition("-")[0] == first.rpartition("-")[0]
        assert transaction.epoch != first
    await store.close()


async def test_an_ordinary_role_reads_the_epoch_and_one_that_may_not_sees_new_tables_only() -> None:
    with ChaosPostgres() as server:
        server.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        place = server.url.rpartition("@")[2]
        url = f"postgresql://plain:plain@{place}"
        assert (await epoch_of(url)).startswith("00000001-")
        server.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        assert await epoch_of(url) == "0-0-0"
        server.execute("CREATE TABLE sagas (saga_id text)")
        assert (await epoch_of(url)).startswith("0-0-1")


async def test_an_outlook_tells_the_epoch_to_a_role_that_may_not_see_all_of_it() -> None:
    with ChaosPostgres() as server:
        store = PostgresStore(server.url)
        await store.upgrade()
        assert (await store.outlook()).epoch.startswith("00000001-")
        await store.close()
        server.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        server.execute("GRANT SELECT ON sagas TO plain")
        server.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        url = f"postgresql://plain:plain@{server.url.rpartition('@')[2]}"
        store = PostgresStore(url)
        assert (await store.outlook()).epoch == await epoch_of(url)
        assert (await store.outlook()).epoch.startswith("0-0-")
        await store.close()


async def epoch_of(url: str) -> str:
    store = PostgresStore(url)
    async with store.transaction() as transaction:
        epoch = transaction.epoch
    await store.close()
    return epoch
