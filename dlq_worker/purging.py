"""Forgetting dead letters and alerts that were closed long ago."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from dlq_worker.letters import WORKER
from dlq_worker.statuses import AlertStatus
from dlq_worker.tables import (
    IS_UNCLOSED,
    alert_deliveries,
    alerts,
    dead_letter_actions,
    dead_letters,
)
from orchestrator.store.database import DatabaseStore, DatabaseTransaction
from orchestrator.store.purging import COUNTED, Cut, Old, Place, Purge, from_place

ALERTS = "alert"
LETTERS = "dead_letter"

# A closed alert whose end has still to be told is kept, and so is the letter that it shows.
_IS_TOLD = alerts.c.next_send_at.is_(None) & ~sa.exists().where(
    alert_deliveries.c.alert_id == alerts.c.id, alert_deliveries.c.due_at.is_not(None)
)
_IS_CALLED = sa.exists().where(
    alerts.c.key == dead_letters.c.alert_key,
    (alerts.c.status == AlertStatus.OPEN.value) | (alerts.c.letter_id == dead_letters.c.id),
)


def old_letters(age: timedelta | None) -> list[Old]:
    """Alerts that were closed so long ago with their deliveries, then letters with what was
    done about them."""
    return [
        Old(kind=ALERTS, age=age, delete=_delete_alerts),
        Old(kind=LETTERS, age=age, delete=_delete_letters),
    ]


def letters_purge(store: DatabaseStore, age: timedelta | None) -> Purge:
    """A round of the worker."""
    reason = "SAGA_RETENTION_FAILED"
    return Purge(store, old_letters(age), by=WORKER, reason=reason, gives_way=True)


async def count_old_letters(store: DatabaseStore, age: timedelta) -> dict[str, int]:
    """How many would be deleted of each kind, at most COUNTED; as long as alerts show them,
    letters are not counted."""
    async with store.reading() as connection:
        before = await store.now(connection) - age
        counts = {}
        for kind, query in (
            (ALERTS, _old_alerts(before)),
            (LETTERS, _closed_letters(before).where(~_IS_CALLED)),
        ):
            some = query.limit(COUNTED).subquery()
            count = sa.select(sa.func.count()).select_from(some)
            counts[kind] = int(await connection.scalar(count) or 0)
        return counts


async def _delete_alerts(
    transaction: DatabaseTransaction, before: datetime, place: Place | None, limit: int
) -> Cut:
    query = from_place(_old_alerts(before), place, alerts.c.closed_at, alerts.c.id).limit(limit)
    rows = (await transaction.execute(query.with_for_update(skip_locked=True))).all()
    numbers = [row.id for row in rows]
    sent = sa.delete(alert_deliveries).where(alert_deliveries.c.alert_id.in_(numbers))
    lines = (await transaction.execute(sent)).rowcount
    await transaction.execute(sa.delete(alerts).where(alerts.c.id.in_(numbers)))
    return Cut(len(numbers), lines, _place(rows, limit))


async def _delete_letters(
    transaction: DatabaseTransaction, before: datetime, place: Place | None, limit: int
) -> Cut:
    letters = _closed_letters(before)
    query = from_place(letters, place, dead_letters.c.closed_at, dead_letters.c.id).limit(limit)
    rows = (await transaction.execute(query.with_for_update(skip_locked=True))).all()
    found = [row.id for row in rows]
    called = sa.select(dead_letters.c.id).where(dead_letters.c.id.in_(found), _IS_CALLED)
    kept = set((await transaction.execute(called)).scalars())
    numbers = [number for number in found if number not in kept]
    done = sa.delete(dead_letter_actions).where(dead_letter_actions.c.letter_id.in_(numbers))
    lines = (await transaction.execute(done)).rowcount
    await transaction.execute(sa.delete(dead_letters).where(dead_letters.c.id.in_(numbers)))
    return Cut(len(numbers), lines, _place(rows, limit))


def _place(rows: Sequence[sa.Row[Any]], limit: int) -> Place | None:
    return (rows[-1].closed_at, rows[-1].id) if len(rows) == limit else None


def _old_alerts(before: datetime) -> sa.Select[Any]:
    closed = alerts.c.status == sa.literal(AlertStatus.CLOSED.value, literal_execute=True)
    return sa.select(alerts.c.id, alerts.c.closed_at).where(
        closed, alerts.c.closed_at < before, _IS_TOLD
    )


def _closed_letters(before: datetime) -> sa.Select[Any]:
    return sa.select(dead_letters.c.id, dead_letters.c.closed_at).where(
        ~IS_UNCLOSED, dead_letters.c.closed_at < before
    )
