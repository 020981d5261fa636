"""Looks for what was left behind: in the sagas, in the dead letters, and in inboxes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from dlq_worker.statuses import UNCLOSED
from dlq_worker.tables import dead_letters
from orchestrator.reconcile.findings import (
    Finding,
    Memory,
    Testimony,
    of_doubt,
    of_letters,
    settled_by_hand,
)
from orchestrator.reconcile.inboxes import memories_in
from orchestrator.saga.interventions import BY_HAND
from orchestrator.saga.state import Saga
from orchestrator.store.database import UNFINISHED, DatabaseStore
from orchestrator.store.purging import sagas_purged_before
from orchestrator.store.tables import saga_history, sagas

AT_A_TIME: Final = 100


async def look(store: DatabaseStore, inboxes: Sequence[str], since: timedelta) -> list[Finding]:
    """Everything that is found, by kind. Raises Unavailable."""
    findings = [of_doubt(saga) for saga in await open_sagas(store) if saga.in_doubt]
    findings += await _letters(store)
    testimony = Testimony(await sagas_purged_before(store))
    for url in inboxes:
        async for memories in memories_in(url, since):
            testimony.hear(memories, await _sagas_of(store, memories))
    told = testimony.findings()
    by_hand = await _resolved_by_hand(store, {each.saga_id for each in told})
    return findings + [
        settled_by_hand(each) if (each.saga_id, each.step) in by_hand else each for each in told
    ]


async def open_sagas(store: DatabaseStore) -> list[Saga]:
    """All planned sagas that have not ended, each as the clock would find it."""
    last, found = "", []
    while ids := await _open_ids(store, last):
        async with store.transaction() as transaction:
            locked = await transaction.lock(ids)
        found += [locked[saga_id] for saga_id in ids if saga_id in locked]
        last = ids[-1]
    return found


async def _open_ids(store: DatabaseStore, last: str) -> list[str]:
    query = (
        sa.select(sagas.c.saga_id)
        .where(UNFINISHED, sagas.c.plan.is_not(None), sagas.c.saga_id > last)
        .order_by(sagas.c.saga_id)
        .limit(AT_A_TIME)
    )
    async with store.reading() as connection:
        return list(await connection.scalars(query))


async def _letters(store: DatabaseStore) -> list[Finding]:
    """Open dead letters about sagas that nobody knew."""
    query = (
        sa.select(dead_letters.c.id, dead_letters.c.saga_id, sagas.c.saga_id.label("known"))
        .outerjoin(sagas, sagas.c.saga_id == dead_letters.c.saga_id)
        .where(
            dead_letters.c.reason == "unknown_saga",
            dead_letters.c.saga_id.is_not(None),
            dead_letters.c.status.in_(sorted(UNCLOSED)),
        )
        .order_by(dead_letters.c.saga_id, dead_letters.c.id)
    )
    async with store.reading() as connection:
        rows = (await connection.execute(query)).all()
    numbers: dict[str, list[int]] = {}
    for row in rows:
        numbers.setdefault(row.saga_id, []).append(row.id)
    known = {row.known for row in rows}
    return [of_letters(saga_id, ids, is_known=saga_id in known) for saga_id, ids in numbers.items()]


async def _sagas_of(store: DatabaseStore, memories: Sequence[Memory]) -> Mapping[str, Saga]:
    async with store.transaction() as transaction:
        return await transaction.lock({memory.saga_id for memory in memories})


async def _resolved_by_hand(
    store: DatabaseStore, saga_ids: Collection[str]
) -> Collection[tuple[str, str | None]]:
    """Which steps of these sagas."""
    found: set[tuple[str, str | None]] = set()
    ordered = sorted(saga_ids)
    for start in range(0, len(ordered), AT_A_TIME):
        ids = ordered[start : start + AT_A_TIME]
        query = sa.select(saga_history.c.saga_id, saga_history.c.step).where(
            saga_history.c.saga_id.in_(ids), saga_history.c.note.startswith(BY_HAND)
        )
        async with store.reading() as connection:
            found |= {(row.saga_id, row.step) for row in await connection.execute(query)}
    return found
