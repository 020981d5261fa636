"""Forgetting what ended long ago: some rows in a transaction, and beside them who and why.

Rows that somebody has locked are passed over. The participants' inboxes forget by themselves.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.saga.state import SagaState
from orchestrator.store.database import DatabaseStore, DatabaseTransaction
from orchestrator.store.tables import purges, saga_history, sagas

COUNTED: Final = 100_000  # more than that are "at least so many"

_LOCK: Final = 0x5A9A_9061  # of Postgres: one at a time, of those that nobody waits for

# The tables of the DLQ worker, which this package must not import.
_letters: Final = sa.table(
    "dead_letters", sa.column("saga_id"), sa.column("status"), sa.column("alert_key")
)
_alerts: Final = sa.table("alerts", sa.column("key"), sa.column("status"))
_NEEDS_A_PERSON: Final = sa.exists(
    sa.select(sa.literal(1))
    .select_from(_letters.outerjoin(_alerts, _alerts.c.key == _letters.c.alert_key))
    .where(
        _letters.c.saga_id == sagas.c.saga_id,
        sa.text("(dead_letters.status IN ('open', 'replaying') OR alerts.status = 'open')"),
    )
    .correlate(sagas)
)


Place = tuple[datetime, Any]
"""Up to where the rows have been gone through: when the last one had ended, and its key."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What one transaction has deleted."""

    rows: int = 0
    lines: int = 0  # that belonged to those rows
    place: Place | None = None  # None: there are no more


Delete = Callable[[DatabaseTransaction, datetime, Place | None, int], Awaitable[Cut]]
"""Deletes at most so many rows of what ended before that moment, from that place on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """A kind of rows, and how long they are kept; None: for ever."""

    kind: str
    age: timedelta | None
    delete: Delete


class Purge:
    """One round of deleting. What it deletes of a kind is one row of `purges`.

    With `gives_way` it ends when somebody else is at it.
    """

    def __init__(
        self,
        store: DatabaseStore,
        old: Iterable[Old],
        *,
        by: str,
        reason: str,
        gives_way: bool = False,
    ) -> None:
        self.deleted: Counter[str] = Counter()
        self.lines = 0
        self._store = store
        self._left = [each for each in old if each.age is not None]
        self._by = by
        self._reason = reason
        self._gives_way = gives_way
        self._place: Place | None = None
        self._record: int | None = None

    async def some(self, limit: int) -> bool:
        """Delete at most so many; False if that were the last. Raises Unavailable."""
        if not self._left:
            return False
        old = self._left[0]
        cut = await self._cut(old, limit)
        if cut is None:
            return False
        self.deleted[old.kind] += cut.rows
        self.lines += cut.lines
        self._place = cut.place
        if cut.place is None:
            self._left, self._record = self._left[1:], None
        return bool(self._left)

    async def _cut(self, old: Old, limit: int) -> Cut | None:
        async with self._store.transaction() as transaction:
            if self._gives_way and not await transaction.is_alone(_LOCK):
                return None
            before = transaction.now - (old.age or timedelta())
            cut = await old.delete(transaction, before, self._place, limit)
            record = await self._told(transaction, old, before, cut) if cut.rows else self._record
        self._record = record
        return cut

    async def _told(
        self, transaction: DatabaseTransaction, old: Old, before: datetime, cut: Cut
    ) -> int:
        """The number of the row that says so."""
        if self._record is not None:
            more = {
                "before": before,
                "deleted": purges.c.deleted + cut.rows,
                "lines": purges.c.lines + cut.lines,
            }
            update = sa.update(purges).where(purges.c.id == self._record).values(more)
            await transaction.execute(update)
            return self._record
        values = {
            "at": transaction.now,
            "by": self._by,
            "reason": self._reason,
            "kind": old.kind,
            "before": before,
            "deleted": cut.rows,
            "lines": cut.lines,
        }
        insert = sa.insert(purges).values(values).returning(purges.c.id)
        return int((await transaction.execute(insert)).scalar_one())


def from_place(
    query: sa.Select[Any], place: Place | None, ended_at: sa.Column[Any], key: sa.Column[Any]
) -> sa.Select[Any]:
    """The query in the order of these columns, behind that place."""
    ordered = query.order_by(ended_at, key)
    if place is None:
        return ordered
    moment, last = place
    is_later = (ended_at > moment) | (key > last)
    return ordered.where(ended_at >= moment, is_later)  # the first for the index


def old_sagas(*, completed: timedelta | None, failed: timedelta | None) -> list[Old]:
    """Sagas that have ended, with their history."""
    ages = {SagaState.COMPLETED: completed, SagaState.FAILED: failed}
    return [Old(kind=state.value, age=age, delete=_deleting(state)) for state, age in ages.items()]


async def count_old(store: DatabaseStore, state: SagaState, age: timedelta) -> int:
    """How many sagas would be deleted, at most COUNTED."""
    async with store.reading() as connection:
        before = await store.now(connection) - age
        some = sa.select(sagas.c.saga_id).where(*_is_old(state, before), ~_NEEDS_A_PERSON)
        query = sa.select(sa.func.count()).select_from(some.limit(COUNTED).subquery())
        return int(await connection.scalar(query) or 0)


async def count_kept(store: DatabaseStore, ages: Mapping[SagaState, timedelta]) -> int:
    """How many are old enough and kept all the same, because a person is needed."""
    kept = 0
    async with store.reading() as connection:
        now = await store.now(connection)
        for state, age in ages.items():
            some = sa.select(sagas.c.saga_id).where(*_is_old(state, now - age), _NEEDS_A_PERSON)
            query = sa.select(sa.func.count()).select_from(some.limit(COUNTED).subquery())
            kept += int(await connection.scalar(query) or 0)
    return kept


async def sagas_purged_before(store: DatabaseStore) -> datetime | None:
    """Sagas that had ended before that may have been deleted; None: none ever was."""
    of_sagas = purges.c.kind.in_([SagaState.COMPLETED.value, SagaState.FAILED.value])
    async with store.reading() as connection:
        query = sa.select(sa.func.max(purges.c.before)).where(of_sagas)
        moment: datetime | None = await connection.scalar(query)
        return moment


def _deleting(state: SagaState) -> Delete:
    async def delete(
        transaction: DatabaseTransaction, before: datetime, place: Place | None, limit: int
    ) -> Cut:
        old = sa.select(sagas.c.saga_id, sagas.c.ended_at).where(
            *_is_old(state, before), ~_NEEDS_A_PERSON
        )
        query = from_place(old, place, sagas.c.ended_at, sagas.c.saga_id).limit(limit)
        locked = query.with_for_update(of=sagas, skip_locked=True)
        rows = (await transaction.execute(locked)).all()
        ids = [row.saga_id for row in rows]
        lines = sa.delete(saga_history).where(saga_history.c.saga_id.in_(ids))
        told = (await transaction.execute(lines)).rowcount
        await transaction.execute(sa.delete(sagas).where(sagas.c.saga_id.in_(ids)))
        is_full = len(rows) == limit
        return Cut(len(rows), told, (rows[-1].ended_at, ids[-1]) if is_full else None)

    return delete


def _is_old(state: SagaState, before: datetime) -> list[sa.ColumnElement[bool]]:
    """Ended before, and with nothing left to be sent."""
    return [
        sagas.c.state == sa.literal(state.value, literal_execute=True),
        sagas.c.ended_at < before,
        sagas.c.wake_at.is_(None),
    ]
