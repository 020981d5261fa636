"""What the stores of both databases share: reading, counting, checking the schema."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from messaging.errors import ConfigurationError, Conflict, SagaError
from orchestrator.saga.state import Decision, Saga, SagaState
from orchestrator.store.errors import StatementRejected, translated
from orchestrator.store.locks import LockWork, Values, counts
from orchestrator.store.port import LockCount, Outlook, Recalled, StuckSagas
from orchestrator.store.revisions import is_behind, newest, revision_of
from orchestrator.store.rows import SagaRow, saga_from
from orchestrator.store.tables import JSON_COLUMNS, sagas

STUCK_AFTER: Final = timedelta(minutes=10)
OPEN_STATES: Final = frozenset(state.value for state in SagaState if not state.is_final)
# `ended_at` for the index, as a plan for any parameters can use it; the state for the truth.
UNFINISHED: Final = sagas.c.ended_at.is_(None) & sagas.c.state.in_(sorted(OPEN_STATES))

SAGA_COLUMNS: Final = tuple(
    sa.cast(column, sa.Text).label(column.name) if column.name in JSON_COLUMNS else column
    for column in sagas.c
)
_DUE: Final = (
    sa.select(*SAGA_COLUMNS)
    .where(
        sagas.c.wake_at <= sa.bindparam("now"),
        sagas.c.plan.is_not(None) | sagas.c.saga_type.in_(sa.bindparam("types", expanding=True)),
    )
    .order_by(sagas.c.wake_at)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)  # SQLite leaves it out: it has one writer at a time
)

_LOOKS: Final = 20  # behind sagas that were looked at too early
_LOOK_LATER: Final = (
    sa.update(sagas)
    .where(sagas.c.saga_id == sa.bindparam("of_saga"))
    .values(wake_at=sa.bindparam("moment"))
)

# Of sagas whose last epoch is another one. Locked ones are left to who holds them.
_IN_DOUBT: Final = (
    UNFINISHED
    & sagas.c.plan.is_not(None)
    & ~(sa.literal(" ") + sagas.c.epochs).endswith(sa.literal(" ") + sa.bindparam("epoch"))
)
_WAKE_DOUBTFUL: Final = (
    sa.update(sagas)
    .where(
        sagas.c.saga_id.in_(
            sa.select(sagas.c.saga_id)
            .where(_IN_DOUBT, sagas.c.wake_at.is_(None) | (sagas.c.wake_at > sa.bindparam("now")))
            .order_by(sagas.c.created_at)  # as their index has them: mostly there are none
            .limit(sa.bindparam("limit"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(wake_at=sa.bindparam("now"))
)


class DatabaseTransaction(LockWork):
    """What both transactions share. After a failed statement, leaving it raises as well."""

    def __init__(self, connection: AsyncConnection, now: datetime, epoch: str) -> None:
        super().__init__()
        self.now = now
        self.epoch = epoch
        self._connection = connection
        self._locked: dict[str, Saga] = {}
        self._failure: SagaError | None = None

    async def lock(self, saga_ids: Collection[str]) -> Mapping[str, Saga]:
        if not saga_ids:
            return {}
        with self._statement():
            found = await self._lock(sorted(saga_ids))
            self._locked |= found
            return found

    async def lock_due(self, limit: int, saga_types: Collection[str]) -> Sequence[Saga]:
        values = {"now": self.now, "types": sorted(saga_types), "limit": limit}
        due: list[Saga] = []
        for _ in range(_LOOKS):
            with self._statement():
                rows = (await self._connection.execute(_DUE, values)).all()
            found = self._readable(rows)
            due = [saga for saga in found if not self._is_early(saga)]
            early = [saga for saga in found if self._is_early(saga)]
            if early:
                await self._look_later(early)
            if not early or len(rows) < limit:
                break
        self._locked |= {saga.saga_id: saga for saga in due}
        return due

    def _readable(self, rows: Sequence[sa.Row[Any]]) -> list[Saga]:
        found = []
        for row in rows:
            with suppress(StatementRejected):  # left for a newer release, and counted as stuck
                found.append(saga_from(SagaRow._make(row), epoch=self.epoch))
        return found

    def _is_early(self, saga: Saga) -> bool:
        """Its row was to be looked at, and there is nothing to do yet."""
        return not saga.in_doubt and (saga.wake_at is None or saga.wake_at > self.now)

    async def _look_later(self, early: Sequence[Saga]) -> None:
        moments = [{"of_saga": saga.saga_id, "moment": saga.wake_at} for saga in early]
        with self._statement():
            await self._connection.execute(_LOOK_LATER, moments)

    async def wake_doubtful(self, limit: int) -> int:
        with self._statement():
            values = {"now": self.now, "epoch": self.epoch, "limit": limit}
            return (await self._connection.execute(_WAKE_DOUBTFUL, values)).rowcount

    async def insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        if not decisions:
            return frozenset()
        # In id order, as everywhere: two workers that insert the same ids must not deadlock.
        ordered = sorted(decisions, key=_saga_id)
        with self._statement():
            taken = await self._insert(ordered)
        await self.let_go_of_ended(ordered)
        return taken

    async def save(self, decisions: Sequence[Decision]) -> None:
        changed = [decision for decision in decisions if decision.must_save]
        if not changed:
            return
        with self._statement():
            saved = await self._save(changed)
            if saved != len(changed):
                raise Conflict(f"{len(changed) - saved} of {len(changed)} sagas to save are gone")
        await self.let_go_of_ended(changed)

    async def notify(self) -> None:
        with self._statement():
            await self._notify()

    async def is_alone(self, lock: int) -> bool:
        """Whether nobody else holds this lock; if so, it is ours until the transaction ends."""
        return True  # where there is one writer at a time

    def dialect(self) -> str:
        return self._connection.dialect.name

    async def execute(
        self, statement: sa.Executable, values: Values | None = None
    ) -> sa.CursorResult[Any]:
        """Run a statement on another program's tables, in this transaction."""
        with self._statement():
            return await self._connection.execute(statement, values)

    async def commit(self) -> None:
        """Commit, or raise again what a statement has failed with."""
        if self._failure:
            raise self._failure
        with translated():
            await self._commit()

    async def _commit(self) -> None:
        await self._connection.commit()

    @contextmanager
    def _statement(self) -> Iterator[None]:
        try:
            with translated():
                yield
        except SagaError as failure:
            self._failure = failure
            raise

    @abstractmethod
    async def _lock(self, saga_ids: Sequence[str]) -> Mapping[str, Saga]: ...

    @abstractmethod
    async def _insert(self, decisions: Sequence[Decision]) -> Collection[str]: ...

    @abstractmethod
    async def _save(self, decisions: Sequence[Decision]) -> int:
        """How many rows were there to be saved."""

    @abstractmethod
    async def _notify(self) -> None: ...


def _saga_id(decision: Decision) -> str:
    return decision.saga.saga_id


class DatabaseStore(ABC):
    """A store on an engine of its own. See `port.Store` for what it promises."""

    def __init__(self, engine: AsyncEngine, *, stuck_after: timedelta) -> None:
        self._engine = engine
        self._stuck_after = stuck_after

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[DatabaseTransaction]: ...

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to read with. It neither waits for writers nor keeps them waiting."""

    @abstractmethod
    async def now(self, connection: AsyncConnection) -> datetime:
        """The clock that `Transaction.now` is read from."""

    @asynccontextmanager
    async def aside(self) -> AsyncIterator["DatabaseStore"]:
        """The same database for work that may take its time, without taking the connections
        of this store; where there is one writer at a time, this store."""
        yield self

    def recalled(self, saga_ids: Collection[str]) -> Recalled | None:
        """Nothing, where it costs as much to look."""
        return None

    async def held(self, saga_ids: Collection[str]) -> Collection[str]:
        """None, where there is one writer at a time."""
        return frozenset()

    @abstractmethod
    async def wait_for_due(self, timeout: float) -> None: ...

    @abstractmethod
    async def outlook(self) -> Outlook: ...

    async def unanswered(self, *, within: timedelta, limit: int) -> int:
        async with self.reading() as connection:
            since = await self.now(connection) - within
            fresh = sa.select(sagas.c.saga_id).where(
                sagas.c.ended_at.is_(None),
                sagas.c.created_at > since,
                sagas.c.state == SagaState.STARTED.value,
                sagas.c.plan.is_not(None) | (sagas.c.version == 0),  # else it waits for locks
            )
            query = sa.select(sa.func.count()).select_from(fresh.limit(limit).subquery())
            return int(await connection.scalar(query) or 0)

    async def lock_counts(self) -> Sequence[LockCount]:
        async with self.reading() as connection:
            return await counts(connection, await self.now(connection))

    async def clear_locks(self) -> int:
        async with self.transaction() as transaction:
            return await transaction.clear_lines()

    async def stuck(self) -> Sequence[StuckSagas]:
        query = sa.select(sagas.c.saga_type, sagas.c.state, sa.func.count())
        async with self.reading() as connection:
            condition = is_stuck(await self.now(connection), self._stuck_after)
            grouped = query.where(condition).group_by(sagas.c.saga_type, sagas.c.state)
            rows = (await connection.execute(grouped)).all()
        return [StuckSagas(saga_type=kind, state=state, count=count) for kind, state, count in rows]

    async def check(self) -> None:
        """A schema that is newer than this release knows is accepted: migrations only add."""
        async with self.reading() as connection:
            revision = await revision_of(connection)
        if is_behind(revision):
            raise ConfigurationError(
                f"the database schema is at revision {revision or 'none'}, and this release "
                f"needs {newest()}; run `saga db upgrade`"
            )

    async def upgrade(self) -> None:
        """Bring the schema to the newest revision; for a database in memory the only way."""
        from orchestrator.store import migrations  # noqa: PLC0415  # who only works loads no Alembic

        with translated():
            await migrations.upgrade_engine(self._engine)

    async def close(self) -> None:
        await self._engine.dispose()


def is_stuck(now: datetime, stuck_after: timedelta) -> sa.ColumnElement[bool]:
    """Unfinished, not moved for `stuck_after`, and not waiting for a moment to come."""
    is_idle = sagas.c.wake_at.is_(None) | (sagas.c.wake_at <= now)
    return UNFINISHED & (sagas.c.updated_at < now - stuck_after) & is_idle
