"""Short ways to decide on sagas from memory, and to save them at once."""

import asyncio
from collections.abc import Collection

import sqlalchemy as sa
from store.sagas import advanced, decided, load, running, until_one_waits

from orchestrator.saga.state import Decision
from orchestrator.store import postgres
from orchestrator.store.at_once import AtOnce
from orchestrator.store.port import Recalled
from orchestrator.store.postgres import PostgresStore

Stores = tuple[PostgresStore, PostgresStore]
# Stands still when it has begun, until the test lets go of the lock.
HESITATING = AtOnce(f"CASE WHEN pg_advisory_xact_lock(7) IS NOT NULL THEN {postgres._EPOCH} END")


async def begun(store: PostgresStore, *saga_ids: str) -> None:
    """These sagas are in the database, and in the memory of this store."""
    async with store.transaction() as transaction:
        at, epochs = transaction.now, (transaction.epoch,)
        sagas = [running(saga_id, at, epochs=epochs) for saga_id in saga_ids]
        assert not await transaction.insert([decided(saga) for saga in sagas])


def recall(store: PostgresStore, *saga_ids: str) -> Recalled:
    found = store.recalled(saga_ids)
    assert found is not None
    return found


def moved(found: Recalled, **changes: object) -> list[Decision]:
    """All that is in memory, one version later."""
    return [advanced(saga, found.now, **changes) for saga in found.sagas.values()]


async def move(store: PostgresStore, *saga_ids: str, reason: str = "quick") -> Collection[str]:
    """Which of them were in memory, and could be saved at once."""
    found = recall(store, *saga_ids)
    return await found.save((), moved(found, cancel_reason=reason))


async def move_under_lock(store: PostgresStore, saga_id: str, reason: str = "slow") -> None:
    async with store.transaction() as transaction:
        saga = (await transaction.lock([saga_id]))[saga_id]
        await transaction.save([advanced(saga, transaction.now, cancel_reason=reason)])


async def told(store: PostgresStore, saga_id: str) -> tuple[str | None, list[int]]:
    """The reason that its row gives, and the versions of its history."""
    saga = await load(store, saga_id)
    assert saga is not None
    query = sa.text("SELECT version FROM saga_history WHERE saga_id = :id ORDER BY version")
    async with store.reading() as connection:
        versions = (await connection.scalars(query, {"id": saga_id})).all()
    return saga.cancel_reason, list(versions)


async def slow_move(store: PostgresStore, *saga_ids: str) -> "asyncio.Task[Collection[str]]":
    """One whose statement has begun, and goes on when lock 7 is free."""
    store._at_once = HESITATING
    moving = asyncio.create_task(move(store, *saga_ids))
    await until_one_waits(store)
    return moving
