"""The store on SQLite: one process, one writer at a time, nothing to install."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.errors import SagaError
from orchestrator.saga.state import Decision, Saga
from orchestrator.store.database import (
    SAGA_COLUMNS,
    STUCK_AFTER,
    DatabaseStore,
    DatabaseTransaction,
)
from orchestrator.store.due import OVERDUE, due_at
from orchestrator.store.engines import database_url_of, is_memory, sqlite_engine
from orchestrator.store.errors import translated
from orchestrator.store.port import Outlook
from orchestrator.store.rows import SagaRow, history_of, row_of, saga_from
from orchestrator.store.tables import IDENTITY, KEPT_IF_NULL, saga_history, sagas

EPOCH: Final = "sqlite"  # a file cannot tell that it was put back: `saga reconcile` can be told
_POLL: Final = 0.1  # seconds between looks for what other processes have changed

_IDS: Final = sa.select(sa.func.json_each(sa.bindparam("ids")).table_valued("value").c.value)
_LOCK: Final = sa.select(*SAGA_COLUMNS).where(sagas.c.saga_id.in_(_IDS)).order_by(sagas.c.saga_id)
_TAKEN: Final = sa.select(sagas.c.saga_id).where(sagas.c.saga_id.in_(_IDS))
_INSERT: Final = sa.insert(sagas)
_TELL: Final = sa.insert(saga_history)


def _new_value(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    value = sa.bindparam(f"new_{column.name}", type_=column.type)
    return sa.func.coalesce(value, column) if column.name in KEPT_IF_NULL else value


_SAVE: Final = (
    sa.update(sagas)
    .where(sagas.c.saga_id == sa.bindparam("new_saga_id"))
    .values({column: _new_value(column) for column in sagas.c if column.name not in IDENTITY})
)


def _now() -> datetime:
    """The process's clock: SQLite's own has milliseconds only, and shares the machine."""
    return datetime.now(UTC)


class SqliteTransaction(DatabaseTransaction):
    def __init__(self, connection: AsyncConnection, now: datetime) -> None:
        super().__init__(connection, now, EPOCH)
        self.has_notified = False

    async def _lock(self, saga_ids: Sequence[str]) -> Mapping[str, Saga]:
        rows = await self._connection.execute(_LOCK, {"ids": json.dumps(saga_ids)})
        return {row.saga_id: saga_from(row, epoch=EPOCH) for row in map(SagaRow._make, rows)}

    async def _insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        ids = json.dumps([decision.saga.saga_id for decision in decisions])
        taken = frozenset(await self._connection.scalars(_TAKEN, {"ids": ids}))
        fresh = [decision for decision in decisions if decision.saga.saga_id not in taken]
        if fresh:
            rows = [row_of(decision.saga)._asdict() for decision in fresh]
            await self._connection.execute(_INSERT, rows)
            await self._tell(fresh)
        return taken

    async def _save(self, decisions: Sequence[Decision]) -> int:
        rows = [self._changed_row(decision) for decision in decisions]
        result = await self._connection.execute(_SAVE, rows)
        await self._tell(decisions)
        return result.rowcount

    def _changed_row(self, decision: Decision) -> Mapping[str, Any]:
        row = row_of(decision.saga, known=self._locked.get(decision.saga.saga_id))
        return {f"new_{name}": value for name, value in row._asdict().items()}

    async def _tell(self, decisions: Sequence[Decision]) -> None:
        lines = [line._asdict() for line in history_of(decisions)]
        if lines:
            await self._connection.execute(_TELL, lines)

    async def _notify(self) -> None:
        self.has_notified = True


class SqliteStore(DatabaseStore):
    """Sagas in a SQLite file, for one orchestrator.

    `sqlite://`, a database in memory to others, is a temporary file that `close` removes: a
    real one has one connection only, and loses everything when a cancelled task breaks it.
    For trials: `clock` is the time by which everything in it happens, and what is not durable
    does not wait for the disk.
    """

    def __init__(
        self,
        database_url: str,
        *,
        stuck_after: timedelta = STUCK_AFTER,
        clock: Callable[[], datetime] = _now,
        is_durable: bool = True,
    ) -> None:
        url = database_url_of(database_url)
        self._folder = TemporaryDirectory(prefix="countermand-") if is_memory(url) else None
        if self._folder:
            url = url.set(database=f"{self._folder.name}/sagas.db")
        engine = sqlite_engine(url, is_durable=is_durable and self._folder is None)
        super().__init__(engine, stuck_after=stuck_after)
        self._now = clock
        self._readers = engine.execution_options(sqlite_begin="DEFERRED")
        self._writer = asyncio.Lock()
        self._notified = asyncio.Event()
        self._watcher: AsyncConnection | None = None
        self._seen_version: int | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        async with self._writer:
            with translated():
                connection = await self._engine.connect()
            try:
                with translated():
                    await connection.begin()
                transaction = SqliteTransaction(connection, self._now())
                yield transaction
                await transaction.commit()
            finally:
                with translated():
                    await connection.close()
        if transaction.has_notified:
            self._notified.set()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._readers.connect() as connection:
                yield connection

    async def now(self, connection: AsyncConnection) -> datetime:
        return self._now()

    async def outlook(self) -> Outlook:
        now = self._now()
        async with self.reading() as connection:
            moments = [sa.literal(each, sagas.c.wake_at.type) for each in (now, now - OVERDUE)]
            asked = sa.select(*due_at(*moments))
            is_due, next_wake_at = (await connection.execute(asked)).one()
        return Outlook(now, EPOCH, bool(is_due), next_wake_at)

    async def wait_for_due(self, timeout: float) -> None:
        """Also returns when anything was committed on another connection.

        The file is looked at only after a while: a busy worker changes it all the time itself.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        is_over = False
        while not is_over:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_POLL, max(0, deadline - loop.time()))):
                    await self._notified.wait()
            is_due = self._notified.is_set() or await self._has_changed()
            is_over = is_due or loop.time() >= deadline
        self._notified.clear()

    async def _has_changed(self) -> bool:
        """Whether the file has changed since the last look; at the first look: yes."""
        try:
            with translated():
                version = await self._data_version()
        except SagaError:  # whoever looks for due sagas will hear of it
            await self._stop_watching()
            return False
        seen, self._seen_version = self._seen_version, version
        return version != seen

    async def _data_version(self) -> int | None:
        if self._watcher is None:
            watching = self._engine.execution_options(sqlite_begin=None)
            self._watcher = await watching.connect()
        result = await self._watcher.exec_driver_sql("PRAGMA data_version")
        version: int | None = result.scalar()
        return version

    async def _stop_watching(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            with suppress(SagaError), translated():
                await watcher.close()

    async def close(self) -> None:
        await self._stop_watching()
        await super().close()
        if self._folder:
            self._folder.cleanup()
