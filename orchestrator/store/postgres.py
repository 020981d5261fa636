"""The store on Postgres: one round trip for sagas in memory, four for any other batch.

See `recalled` for the one. The four: BEGIN with the clock; the lock; one statement for rows and
history; COMMIT. Rows that another process has written since we did are read in one more.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final, TypeVar, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.errors import Unavailable
from orchestrator.saga.state import Decision, Saga
from orchestrator.store import statements
from orchestrator.store.arrays import Array
from orchestrator.store.at_once import AtOnce, Question, Stored, stored_by
from orchestrator.store.database import (
    STUCK_AFTER,
    DatabaseStore,
    DatabaseTransaction,
)
from orchestrator.store.due import OVERDUE, due_at
from orchestrator.store.engines import database_url_of, postgres_arguments, postgres_engine
from orchestrator.store.errors import translated
from orchestrator.store.kept import Kept, driver_of, given_up_if_lost
from orchestrator.store.listener import CHANNEL, Listener
from orchestrator.store.port import Outlook, Recalled
from orchestrator.store.recalled import PostgresRecalled, Reading, last_reading
from orchestrator.store.remembered import Mark, Remembered
from orchestrator.store.rows import SagaRow, row_of, saga_from
from orchestrator.store.statements import Driver

T = TypeVar("T")

_HELD: Final = sa.text("""
    WITH free AS MATERIALIZED (
        SELECT saga_id FROM sagas WHERE saga_id = ANY(:ids) FOR UPDATE SKIP LOCKED
    )
    SELECT saga_id FROM sagas
    WHERE saga_id = ANY(:ids) AND saga_id NOT IN (SELECT saga_id FROM free)
""").bindparams(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Text)))
# Read in the round trip that begins a transaction, 25 µs. To keep it by connection would be
# wrong behind a pooler, whose connections outlive the server's. See docs/adr/0012.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT now(), "
_TABLE: Final = "coalesce(to_regclass('sagas')::oid, 0)"
_TIMELINE: Final = "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
_SYSTEM: Final = "(pg_control_system()).system_identifier"
_EPOCH: Final = f"{_TIMELINE} || '-' || {_SYSTEM} || '-' || {_TABLE}"
_ONLY_TABLE: Final = f"'0-0-' || {_TABLE}"  # for servers that do not tell their timeline
_UNTOLD: Final = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedFunction,
)
# By Postgres, for who decides over a name. Of two numbers: apart from those of one.
_RESERVE: Final = sa.text("""
    SELECT name FROM unnest(:names) AS name
    WHERE NOT pg_try_advisory_xact_lock(1520078946, hashtext(name))
""").bindparams(sa.bindparam("names", type_=postgresql.ARRAY(sa.Text)))
_NOTIFY: Final = sa.select(sa.func.pg_notify(CHANNEL, ""))


class PostgresTransaction(DatabaseTransaction):
    """What every batch asks goes to the driver itself; see `statements`."""

    def __init__(
        self,
        connection: AsyncConnection,
        driver: Driver,
        now: datetime,
        epoch: str,
        remembered: Remembered,
    ) -> None:
        super().__init__(connection, now, epoch)
        self._driver = driver
        self._remembered = remembered
        self._written: list[tuple[int, Saga]] = []  # with the xmin of their rows

    async def _lock(self, saga_ids: Sequence[str]) -> Mapping[str, Saga]:
        """Only marks are fetched of what may be in memory, and the rows of what is not."""
        if not self._remembered.knows_any(saga_ids):
            return await self._read(statements.LOCK, saga_ids)
        known = self._remembered.recall(saga_ids, epoch=self.epoch)
        marks = await self._fetch(statements.LOCK_MARKS, statements.texts(saga_ids))
        found = {
            saga_id: self._remembered.get(saga_id, Mark(xmin, version, updated_at, self.epoch))
            for saga_id, xmin, version, updated_at in marks
        }
        self._remembered.has_found(sum(map(bool, found.values())), of=len(known))
        unknown = [saga_id for saga_id, saga in found.items() if saga is None]
        read = await self._read(statements.READ, unknown) if unknown else {}
        return {saga_id: saga or read[saga_id] for saga_id, saga in found.items()}

    async def _read(self, statement: bytes, saga_ids: Sequence[str]) -> Mapping[str, Saga]:
        found = await self._fetch(statement, statements.texts(saga_ids))
        rows = map(SagaRow._make, found)
        return {row.saga_id: saga_from(row, epoch=self.epoch) for row in rows}

    async def _insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        sagas = {decision.saga.saga_id: decision.saga for decision in decisions}
        rows = [row_of(saga) for saga in sagas.values()]
        stored = await self._fetch(statements.INSERT, statements.insertion(rows, decisions))
        self._written += [(xmin, sagas[saga_id]) for xmin, saga_id in stored]
        return sagas.keys() - {saga_id for _, saga_id in stored}

    async def _save(self, decisions: Sequence[Decision]) -> int:
        sagas = [decision.saga for decision in decisions]
        rows = [row_of(saga, known=self._locked.get(saga.saga_id)) for saga in sagas]
        [(xmin, saved)] = await self._fetch(statements.SAVE, statements.saving(rows, decisions))
        self._written += [(xmin, saga) for saga in sagas]
        return int(saved)

    async def _notify(self) -> None:
        await self._connection.execute(_NOTIFY)

    async def is_alone(self, lock: int) -> bool:
        query = sa.select(sa.func.pg_try_advisory_xact_lock(sa.literal(lock, sa.BigInteger)))
        return bool((await self.execute(query)).scalar_one())

    async def _reserve(self, names: Collection[str]) -> Collection[str]:
        return set((await self.execute(_RESERVE, {"names": list(names)})).scalars())

    async def _commit(self) -> None:
        async with given_up_if_lost(self._connection, self._driver):
            await self._driver.commit()
        self._remembered.keep(self._written, epoch=self.epoch)

    async def _fetch(self, statement: bytes, values: Sequence[Array]) -> list[Any]:
        async with given_up_if_lost(self._connection, self._driver, is_prepared=True):
            return await statements.fetch(self._driver, statement, values)


class PostgresStore(DatabaseStore):
    """Sagas in Postgres, for any number of orchestrators side by side."""

    def __init__(self, database_url: str, *, stuck_after: timedelta = STUCK_AFTER) -> None:
        url = database_url_of(database_url)
        # Without the driver's own BEGIN: ours also reads the clock.
        engine = postgres_engine(url, isolation_level="AUTOCOMMIT")
        self._url = database_url
        super().__init__(engine, stuck_after=stuck_after)
        self._listener = Listener(postgres_arguments(url))
        self._epoch = _EPOCH
        self._at_once = AtOnce(_EPOCH)
        self._kept = Kept(engine)
        self._remembered = Remembered()
        self._reading: Reading | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        with translated():
            connection = await self._engine.connect()
        try:
            with translated():
                driver = await driver_of(connection)
                now, epoch = await self._begin(connection, driver)
            transaction = PostgresTransaction(connection, driver, now, epoch, self._remembered)
            yield transaction
            await transaction.commit()
        finally:
            with translated():
                await connection.close()  # the pool rolls back what is not committed

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[DatabaseStore]:
        other = PostgresStore(self._url, stuck_after=self._stuck_after)
        try:
            yield other
        finally:
            await other.close()

    async def now(self, connection: AsyncConnection) -> datetime:
        return cast("datetime", await connection.scalar(sa.select(sa.func.now())))

    async def held(self, saga_ids: Collection[str]) -> Collection[str]:
        async with self.reading() as connection:
            return set(await connection.scalars(_HELD, {"ids": sorted(saga_ids)}))

    async def outlook(self) -> Outlook:
        async with self.reading() as connection:

            async def ask(epoch: str) -> Outlook:
                now = sa.func.now()
                told = sa.select(now, sa.literal_column(epoch), *due_at(now, now - OVERDUE))
                return Outlook._make((await connection.execute(told)).one())

            return await self._asked(connection, ask)

    async def wait_for_due(self, timeout: float) -> None:
        await self._listener.wait(timeout)

    def recalled(self, saga_ids: Collection[str]) -> Recalled | None:
        reading, memory = self._reading, self._remembered
        if reading is None or not reading.is_believed():
            return None
        known = memory.recall(saga_ids, epoch=reading.epoch) if memory.is_ours_alone else {}
        return PostgresRecalled(known, reading, memory, by=self._at_once, ask=self._ask_at_once)

    async def _ask_at_once(self, question: Question) -> Stored | None:
        """The clock is read as well."""
        async with self._kept.one() as line:
            asked_at = monotonic()
            stored = stored_by(await line.ask(*question))
        if stored and self._reading is not None:  # else it may be another epoch by now
            reading = Reading(stored.now, self._reading.epoch, asked_at)
            self._reading = last_reading(self._reading, reading)
        return stored

    async def _begin(self, connection: AsyncConnection, driver: Driver) -> tuple[datetime, str]:
        asked_at = monotonic()
        now, epoch = await self._asked(connection, lambda by: _begin(connection, driver, by))
        self._reading = last_reading(self._reading, Reading(now, epoch, asked_at))
        return now, epoch

    async def _asked(self, connection: AsyncConnection, ask: Callable[[str], Awaitable[T]]) -> T:
        """What is asked together with the epoch, in the way in which this server tells it."""
        try:
            return await ask(self._epoch)
        except (*_UNTOLD, sa.exc.DBAPIError) as error:
            if not isinstance(getattr(error, "orig", error), _UNTOLD):
                raise
            self._epoch = _ONLY_TABLE
            self._at_once = AtOnce(_ONLY_TABLE)
            await connection.exec_driver_sql("ROLLBACK")
            return await ask(self._epoch)

    async def close(self) -> None:
        await self._listener.close()
        await self._kept.close()
        await super().close()


async def _begin(connection: AsyncConnection, driver: Driver, epoch: str) -> tuple[datetime, str]:
    """Begin and read clock and epoch in one round trip, which the driver's BEGIN would double."""
    async with given_up_if_lost(connection, driver), driver.cursor() as cursor:
        await cursor.execute(f"{_BEGIN}{epoch}".encode(), prepare=False)
        cursor.nextset()
        row = await cursor.fetchone()
    if row is None:
        raise Unavailable("the database did not tell the time")
    return cast("tuple[datetime, str]", row)
