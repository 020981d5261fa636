"""A step changes its saga's row in place: no index moves with it, and no timer is late for it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from store.sagas import MINUTE, advanced, insert, now, planned, running

from orchestrator.saga.state import SagaState, Step
from orchestrator.store.postgres import PostgresStore

pytestmark = pytest.mark.postgres

_SECOND = timedelta(seconds=1)
_HOT = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'sagas'")


@pytest.fixture
async def store(empty_database_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    yield store
    await store.close()


async def _moved(store: PostgresStore, deadline: datetime | None) -> tuple[int, int]:
    """The step's deadline is another one: how many rows changed, and how many in place."""
    async with store.transaction() as transaction:
        saga = (await transaction.lock(["one"]))["one"]
        before = (await transaction.execute(_HOT)).one()
        steps = (Step(plan=planned(), deadline=deadline),)
        await transaction.save([advanced(saga, transaction.now, steps=steps)])
        after = (await transaction.execute(_HOT)).one()
    return after.n_tup_upd - before.n_tup_upd, after.n_tup_hot_upd - before.n_tup_hot_upd


async def _stored(store: PostgresStore) -> datetime | None:
    async with store.reading() as connection:
        moment: datetime | None = await connection.scalar(text("SELECT wake_at FROM sagas"))
        return moment


async def _put(store: PostgresStore, deadline: datetime) -> None:
    at = await now(store)
    step = Step(plan=planned(), deadline=deadline)
    await insert(store, running("one", at, state=SagaState.PENDING, steps=(step,)))


async def test_a_deadline_that_moves_on_changes_the_row_in_place(store: PostgresStore) -> None:
    at = await now(store)
    await _put(store, at + 5 * MINUTE)
    assert await _moved(store, at + 6 * MINUTE) == (1, 1)
    assert await _stored(store) == at + 5 * MINUTE


async def test_a_deadline_that_comes_nearer_or_goes_is_stored(store: PostgresStore) -> None:
    at = await now(store)
    await _put(store, at + 5 * MINUTE)
    assert await _moved(store, at + 4 * MINUTE) == (1, 0)
    assert await _stored(store) == at + 4 * MINUTE
    await _moved(store, None)
    assert await _stored(store) is None


async def test_a_moment_that_is_near_does_not_stay(store: PostgresStore) -> None:
    at = await now(store)
    await _put(store, at + 20 * _SECOND)
    await _moved(store, at + 5 * MINUTE)
    assert await _stored(store) == at + 5 * MINUTE


async def test_whoever_comes_too_early_looks_again_in_time(store: PostgresStore) -> None:
    at = await now(store)
    await _put(store, at + 5 * MINUTE)
    await _moved(store, at + 6 * MINUTE)
    async with store.transaction() as transaction:
        await transaction.execute(text("UPDATE sagas SET wake_at = now()"))
    async with store.transaction() as transaction:
        assert await transaction.lock_due(9, []) == []
    assert (await store.outlook()).next_wake_at == await _stored(store) == at + 6 * MINUTE


async def test_many_steps_take_no_more_room_than_a_few(store: PostgresStore) -> None:
    """The room of old versions is used again, with no vacuum in between. Whoever looks at the
    database meanwhile, its own workers too, may keep some for a moment."""
    at = await now(store)
    await _put(store, at + 5 * MINUTE)
    moved = [await _moved(store, at + (6 + number) * MINUTE) for number in range(60)]
    assert sum(in_place for _, in_place in moved) >= 50
    async with store.reading() as connection:
        sizes = "SELECT pg_relation_size('sagas'), pg_relation_size('pk_sagas')"
        table, index = (await connection.execute(text(sizes))).one()
    assert table <= 4 * 8192
    assert index == 2 * 8192


async def test_sagas_that_were_looked_at_too_early_hide_nobody(store: PostgresStore) -> None:
    at = await now(store)
    later = (Step(plan=planned(), deadline=at + MINUTE),)
    await insert(store, *(running(f"early-{number}", at, steps=later) for number in range(25)))
    await insert(store, running("due", at, steps=(Step(plan=planned(), deadline=at),)))
    async with store.transaction() as transaction:
        soon = "UPDATE sagas SET wake_at = now() - interval '1 hour' WHERE saga_id <> 'due'"
        await transaction.execute(text(soon))
    async with store.transaction() as transaction:
        assert [saga.saga_id for saga in await transaction.lock_due(10, [])] == ["due"]
    async with store.transaction() as transaction:
        assert [saga.saga_id for saga in await transaction.lock_due(10, [])] == ["due"]
    async with store.reading() as connection:
        query = text("SELECT count(*) FROM sagas WHERE wake_at = :moment")
        assert await connection.scalar(query, {"moment": at + MINUTE}) == 25
