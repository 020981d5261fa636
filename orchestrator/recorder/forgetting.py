"""Forgetting choreographed sagas that ended long ago, with their events and replays."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from orchestrator.store.choreographies import choreographies, choreography_replays, saga_events
from orchestrator.store.database import DatabaseStore, DatabaseTransaction
from orchestrator.store.purging import Cut, Delete, Old, Place, Purge, from_place

KIND: Final = "choreography"
_BY: Final = "recorder"


def records_purge(store: DatabaseStore, ages: Mapping[str, timedelta | None]) -> Purge:
    """A round: by state, how long sagas are kept that have ended in it."""
    old = [Old(kind=KIND, age=age, delete=_deleting(state)) for state, age in ages.items()]
    reason = "SAGA_RETENTION_COMPLETED and SAGA_RETENTION_FAILED"
    return Purge(store, old, by=_BY, reason=reason, gives_way=True)


def _deleting(state: str) -> Delete:
    async def delete(
        transaction: DatabaseTransaction, before: datetime, place: Place | None, limit: int
    ) -> Cut:
        table = choreographies
        old = sa.select(table.c.saga_id, table.c.ended_at).where(
            table.c.state == sa.literal(state, literal_execute=True), table.c.ended_at < before
        )
        query = from_place(old, place, table.c.ended_at, table.c.saga_id).limit(limit)
        rows = (await transaction.execute(query.with_for_update(skip_locked=True))).all()
        ids = [row.saga_id for row in rows]
        lines = 0
        for of_saga in (saga_events, choreography_replays):
            gone = sa.delete(of_saga).where(of_saga.c.saga_id.in_(ids))
            lines += (await transaction.execute(gone)).rowcount
        await transaction.execute(sa.delete(table).where(table.c.saga_id.in_(ids)))
        is_full = len(rows) == limit
        return Cut(len(rows), lines, (rows[-1].ended_at, ids[-1]) if is_full else None)

    return delete
