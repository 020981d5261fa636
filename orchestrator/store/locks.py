"""Semantic locks in the database: taking all or none, letting go, waking who is next.

Nothing here waits for another transaction. A name over which another one decides at this moment
is not granted now, and its saga is due again some milliseconds later. See docs/adr/0021.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.saga.locking import Line, LockRequest, Standing, has_let_go, standings
from orchestrator.saga.state import Decision
from orchestrator.store.port import LockCount
from orchestrator.store.tables import saga_locks, sagas

# By windows, that is by one sort: what compares each waiter with the others is slow beyond
# measure while the table's statistics are old, as they are when many have just begun to wait.
_IS_WAITING: Final = saga_locks.c.held_at.is_(None)
_IN_TURN: Final = (_IS_WAITING, saga_locks.c.place, saga_locks.c.saga_id)
_NAMES: Final = saga_locks.c.name.in_(sa.bindparam("names", expanding=True))
_SAGAS: Final = saga_locks.c.saga_id.in_(sa.bindparam("saga_ids", expanding=True))

# Of each name the holder, and who waits first with how many wait.
_OF_KIND: Final = (saga_locks.c.name, _IS_WAITING)
_each: Final = (
    sa.select(
        saga_locks,
        sa.func.row_number().over(partition_by=_OF_KIND, order_by=_IN_TURN).label("number"),
        sa.func.count().over(partition_by=_OF_KIND).label("length"),
    )
    .where(_NAMES)
    .subquery()
)
_LINES: Final = sa.select(_each).where(_each.c.number == 1)
_IN_LINE: Final = sa.select(saga_locks).where(_SAGAS, saga_locks.c.held_at.is_(None))
_HOLD_NOW: Final = sa.update(saga_locks).where(_SAGAS).values(held_at=sa.bindparam("now"))
# A copy of the same start may have stored it; a second holder is never passed over.
_SAME: Final = [saga_locks.c.name, saga_locks.c.saga_id]
_STAND: Final[Mapping[str, sa.Insert]] = {
    "postgresql": postgresql.insert(saga_locks).on_conflict_do_nothing(index_elements=_SAME),
    "sqlite": sqlite.insert(saga_locks).on_conflict_do_nothing(index_elements=_SAME),
}
_LET_GO: Final = sa.delete(saga_locks).where(_SAGAS)
_HAS_ENDED: Final = ~sa.exists().where(
    sagas.c.saga_id == saga_locks.c.saga_id, sagas.c.ended_at.is_(None)
)
_CLEAR: Final = sa.delete(saga_locks).where(_HAS_ENDED)

_COUNTS: Final = sa.select(
    saga_locks.c.saga_type,
    sa.func.count(
        sa.distinct(sa.case((saga_locks.c.held_at.is_(None), saga_locks.c.saga_id)))
    ).label("waiting"),
    sa.func.min(saga_locks.c.held_at).label("held_since"),
).group_by(saga_locks.c.saga_type)

# They wait, and are the first wherever they do; a holder stands before all.
_turns: Final = sa.select(
    saga_locks.c.saga_id,
    saga_locks.c.held_at,
    sa.func.row_number().over(partition_by=saga_locks.c.name, order_by=_IN_TURN).label("turn"),
).subquery()
_MAY_GO: Final = (
    sa.select(_turns.c.saga_id)
    .group_by(_turns.c.saga_id)
    .having(sa.func.max(_turns.c.turn) == 1, sa.func.max(_turns.c.held_at).is_(None))
)
_NEXT: Final = (
    sa.select(sagas.c.saga_id)
    .where(
        sagas.c.saga_id.in_(_MAY_GO),
        sagas.c.plan.is_(None),
        sagas.c.ended_at.is_(None),
        sagas.c.wake_at.is_(None) | (sagas.c.wake_at > sa.bindparam("now")),
    )
    .order_by(sagas.c.created_at)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)  # who has it locked looks at its locks, too
)
_WAKE: Final = (
    sa.update(sagas)
    .where(sagas.c.saga_id.in_(_NEXT))
    .values(wake_at=sa.bindparam("now"), resend_at=sa.bindparam("now"))
)


Values = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class LockWork(ABC):
    """The part of a transaction that is about locks. See `port.Transaction` for its promises."""

    now: datetime

    def __init__(self) -> None:
        self.has_moved_lines = False

    @abstractmethod
    def dialect(self) -> str: ...

    @abstractmethod
    async def execute(
        self, statement: sa.Executable, values: Values | None = None
    ) -> sa.CursorResult[Any]: ...

    async def claim(self, requests: Sequence[LockRequest]) -> Mapping[str, Standing]:
        asked = await self._as_known(requests)
        names = sorted({name for request in asked for name in request.names})
        looked = standings(asked, await self._lines(names), undecided=frozenset(), now=self.now)
        free = {name for each in looked if each.is_granted for name in each.request.names}
        if free:  # as it looks: now nobody else may grant them, and what they did before is seen
            reserved = free.difference(await self._reserve(sorted(free)))
            undecided = frozenset(names) - reserved
            looked = standings(asked, await self._lines(names), undecided=undecided, now=self.now)
        await self._write(looked)
        return {each.request.saga_id: each for each in looked}

    async def let_go(self, saga_ids: Collection[str]) -> None:
        if (await self.execute(_LET_GO, {"saga_ids": sorted(saga_ids)})).rowcount:
            self.has_moved_lines = True

    async def let_go_of_ended(self, decisions: Sequence[Decision]) -> None:
        """No statement, if none of them has ended that may have had locks."""
        ended = [decision.saga.saga_id for decision in decisions if has_let_go(decision.saga)]
        if ended:
            await self.let_go(ended)

    async def wake_next_in_line(self, limit: int) -> int:
        return (await self.execute(_WAKE, {"now": self.now, "limit": limit})).rowcount

    async def clear_lines(self) -> int:
        """Delete those of sagas that have ended or are gone: an older release, or a hand, did
        not. How many there were."""
        return (await self.execute(_CLEAR)).rowcount

    async def _reserve(self, names: Collection[str]) -> Collection[str]:
        """Keep others from granting these until the transaction ends; those that others keep
        already, without waiting for them."""
        return frozenset()  # where there is one writer at a time

    async def _as_known(self, requests: Sequence[LockRequest]) -> Sequence[LockRequest]:
        """A saga that is in line already keeps its place, and waits for what it waited for."""
        again = [request.saga_id for request in requests if request.is_in_line]
        if not again:
            return requests
        known: dict[str, list[sa.Row[Any]]] = {}
        for row in await self.execute(_IN_LINE, {"saga_ids": again}):
            known.setdefault(row.saga_id, []).append(row)
        return [_as_written(request, known.get(request.saga_id, ())) for request in requests]

    async def _lines(self, names: Collection[str]) -> Mapping[str, Line]:
        lines = {name: Line() for name in names}
        for row in await self.execute(_LINES, {"names": list(names)}):
            line = lines[row.name]
            if row.held_at is None:
                line.first, line.waiting = (row.place, row.saga_id), row.length
            else:
                line.holder = row.saga_id
        return lines

    async def _write(self, decided: Sequence[Standing]) -> None:
        """Who holds, and who waits in line."""
        waited = [
            each.request.saga_id for each in decided if each.is_granted and each.request.is_in_line
        ]
        if waited:
            await self.execute(_HOLD_NOW, {"saga_ids": waited, "now": self.now})
        rows = [
            _row(each.request, name, self.now if each.is_granted else None)
            for each in decided
            if each.is_to_stay and not each.request.is_in_line
            for name in each.request.names
        ]
        if rows:  # in one order, as everywhere: a copy of the same start may be at it
            ordered = sorted(rows, key=lambda row: (row["name"], row["saga_id"]))
            await self.execute(_STAND[self.dialect()], ordered)
        self.has_moved_lines |= bool(waited or rows)


async def counts(connection: AsyncConnection, now: datetime) -> Sequence[LockCount]:
    """By saga type."""
    return [
        LockCount(
            saga_type=row.saga_type,
            waiting=row.waiting,
            longest_held=max(timedelta(), now - row.held_since) if row.held_since else timedelta(),
        )
        for row in await connection.execute(_COUNTS)
    ]


def _as_written(request: LockRequest, rows: Sequence[sa.Row[Any]]) -> LockRequest:
    if not rows:
        return replace(request, is_in_line=False)
    return replace(request, names=tuple(sorted(row.name for row in rows)), place=rows[0].place)


def _row(request: LockRequest, name: str, held_at: datetime | None) -> dict[str, Any]:
    return {
        "name": name,
        "saga_id": request.saga_id,
        "saga_type": request.saga_type,
        "place": request.place,
        "asked_at": request.asked_at,
        "held_at": held_at,
    }
