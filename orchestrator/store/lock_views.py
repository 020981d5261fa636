"""What people are shown of a saga's locks."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.store.tables import saga_locks, sagas
from orchestrator.store.views import LockView

_other: Final = saga_locks.alias("other")

WAITS_FOR: Final = (
    sa.select(sa.func.min(saga_locks.c.name))
    .where(saga_locks.c.saga_id == sagas.c.saga_id, saga_locks.c.held_at.is_(None))
    .correlate(sagas)
    .scalar_subquery()
    .label("waits_for")
)
"""Of a listed saga: the first of the locks that it waits for."""


async def locks_of(connection: AsyncConnection, saga_id: str) -> tuple[LockView, ...]:
    """Of one saga, in the order of their names."""
    mine = sa.select(saga_locks).where(saga_locks.c.saga_id == saga_id)
    rows = (await connection.execute(mine.order_by(saga_locks.c.name))).all()
    return tuple([await _view(connection, row) for row in rows])


async def _view(connection: AsyncConnection, row: sa.Row[tuple[object, ...]]) -> LockView:
    others = sa.select(_other.c.saga_id).where(_other.c.name == row.name)
    holder = await connection.scalar(others.where(_other.c.held_at.is_not(None)))
    is_before = sa.tuple_(_other.c.place, _other.c.saga_id) < (row.place, row.saga_id)
    before = others.where(_other.c.held_at.is_(None), is_before)
    ahead = await connection.scalar(sa.select(sa.func.count()).select_from(before.subquery()))
    is_held = row.held_at is not None
    return LockView(
        name=row.name,
        is_held=is_held,
        since=row.held_at or row.asked_at,
        holder=None if is_held else holder,
        ahead=0 if is_held else int(ahead or 0),
    )
