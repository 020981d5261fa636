"""The store on Postgres: set-based statements, and four round trips for a whole batch.

BEGIN with the clock; the lock; one statement for rows and history; COMMIT. The pool's ping
is one more. Every statement has a fixed text, so the driver prepares it once a connection.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.errors import Unavailable
from orchestrator.saga.state import Decision
from orchestrator.store.database import (
    SAGA_COLUMNS,
    STUCK_AFTER,
    DatabaseStore,
    DatabaseTransaction,
)
from orchestrator.store.engines import database_url_of, postgres_arguments, postgres_engine
from orchestrator.store.errors import translated
from orchestrator.store.listener import CHANNEL, Listener
from orchestrator.store.rows import HistoryRow, SagaRow, history_of, row_of
from orchestrator.store.tables import IDENTITY, KEPT_IF_NULL, saga_history, sagas

_DIALECT: Final = sa.URL.create("postgresql+psycopg").get_dialect()()


def _arrays(table: sa.Table, prefix: str) -> str:
    """`unnest` of one array parameter for each column of the table."""
    return ", ".join(
        f"CAST(:{prefix}{column.name} AS {column.type.compile(dialect=_DIALECT)}[])"
        for column in table.columns
    )


def _columns(table: sa.Table) -> str:
    return ", ".join(column.name for column in table.columns)


# A deadline that moves on at each step would change the index of due sagas each time, and with
# it every other index. The earlier moment stays while it is far off: whoever comes to look then
# finds that it is early. See docs/adr/0014.
_LOOK_AT: Final = """
    CASE WHEN sagas.wake_at <= new.wake_at AND sagas.wake_at > now() + interval '30 seconds'
         THEN sagas.wake_at ELSE new.wake_at END
"""


def _assignments() -> str:
    return ", ".join(
        f"{column.name} = {_new_value(column.name)}"
        for column in sagas.columns
        if column.name not in IDENTITY
    )


def _new_value(column: str) -> str:
    if column == sagas.c.wake_at.name:
        return _LOOK_AT
    return f"coalesce(new.{column}, sagas.{column})" if column in KEPT_IF_NULL else f"new.{column}"


_LOCK: Final = (
    sa.select(*SAGA_COLUMNS)
    .where(sagas.c.saga_id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Text))))
    .order_by(sagas.c.saga_id)
    .with_for_update()
)
_HELD: Final = sa.text("""
    WITH free AS MATERIALIZED (
        SELECT saga_id FROM sagas WHERE saga_id = ANY(:ids) FOR UPDATE SKIP LOCKED
    )
    SELECT saga_id FROM sagas
    WHERE saga_id = ANY(:ids) AND saga_id NOT IN (SELECT saga_id FROM free)
""").bindparams(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Text)))
_INSERT: Final = sa.text(f"""
    WITH stored AS (
        INSERT INTO sagas ({_columns(sagas)})
        SELECT * FROM unnest({_arrays(sagas, "s_")})
        ON CONFLICT (saga_id) DO NOTHING
        RETURNING saga_id
    ), told AS (
        INSERT INTO saga_history ({_columns(saga_history)})
        SELECT line.* FROM unnest({_arrays(saga_history, "h_")}) AS line ({_columns(saga_history)})
        JOIN stored USING (saga_id)
    )
    SELECT saga_id FROM stored
""")  # noqa: S608 - made of our own column names
_SAVE: Final = sa.text(f"""
    WITH moved AS (
        UPDATE sagas SET {_assignments()}
        FROM unnest({_arrays(sagas, "s_")}) AS new ({_columns(sagas)})
        WHERE sagas.saga_id = new.saga_id
        RETURNING 1
    ), told AS (
        INSERT INTO saga_history ({_columns(saga_history)})
        SELECT * FROM unnest({_arrays(saga_history, "h_")})
    )
    SELECT count(*) FROM moved
""")  # noqa: S608 - made of our own column names
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
_NOTIFY: Final = sa.select(sa.func.pg_notify(CHANNEL, ""))


class PostgresTransaction(DatabaseTransaction):
    async def _lock_rows(self, saga_ids: Sequence[str]) -> Sequence[SagaRow]:
        rows = await self._connection.execute(_LOCK, {"ids": saga_ids})
        return [SagaRow._make(row) for row in rows]

    async def _insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        rows = [row_of(decision.saga) for decision in decisions]
        values = _parameters(rows, history_of(decisions))
        stored = set(await self._connection.scalars(_INSERT, values))
        return frozenset(row.saga_id for row in rows) - stored

    async def _save(self, decisions: Sequence[Decision]) -> int:
        rows = [
            row_of(decision.saga, known=self._locked.get(decision.saga.saga_id))
            for decision in decisions
        ]
        values = _parameters(rows, history_of(decisions))
        return int(await self._connection.scalar(_SAVE, values) or 0)

    async def _notify(self) -> None:
        await self._connection.execute(_NOTIFY)

    async def is_alone(self, lock: int) -> bool:
        query = sa.select(sa.func.pg_try_advisory_xact_lock(sa.literal(lock, sa.BigInteger)))
        return bool((await self.execute(query)).scalar_one())


def _parameters(rows: Sequence[SagaRow], lines: Sequence[HistoryRow]) -> Mapping[str, Any]:
    return _by_column(SagaRow, rows, "s_") | _by_column(HistoryRow, lines, "h_")


def _by_column(
    kind: type[SagaRow] | type[HistoryRow], rows: Iterable[NamedTuple], prefix: str
) -> dict[str, list[Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in kind._fields]
    return {f"{prefix}{name}": column for name, column in zip(kind._fields, columns, strict=True)}


class PostgresStore(DatabaseStore):
    """Sagas in Postgres, for any number of orchestrators side by side."""

    def __init__(self, database_url: str, *, stuck_after: timedelta = STUCK_AFTER) -> None:
        url = database_url_of(database_url)
        engine = postgres_engine(url)
        self._url = database_url
        super().__init__(engine, stuck_after=stuck_after)
        # The same pool, without the driver's own BEGIN: ours also reads the clock.
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._listener = Listener(postgres_arguments(url))
        self._epoch = _EPOCH

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        with translated():
            connection = await self._autocommit.connect()
        try:
            with translated():
                transaction = PostgresTransaction(connection, *await self._begin(connection))
            yield transaction
            await transaction.commit()
        finally:
            with translated():
                await connection.close()  # the pool rolls back what is not committed

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._autocommit.connect() as connection:
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

    async def wait_for_due(self, timeout: float) -> None:
        await self._listener.wait(timeout)

    async def _begin(self, connection: AsyncConnection) -> tuple[datetime, str]:
        try:
            return await _begin(connection, self._epoch)
        except _UNTOLD:
            self._epoch = _ONLY_TABLE
            await connection.exec_driver_sql("ROLLBACK")
            return await _begin(connection, self._epoch)

    async def close(self) -> None:
        await self._listener.close()
        await super().close()


async def _begin(connection: AsyncConnection, epoch: str) -> tuple[datetime, str]:
    """Begin and read clock and epoch in one round trip, which the driver's BEGIN would double."""
    raw = await connection.get_raw_connection()
    driver = cast("psycopg.AsyncConnection[Any]", raw.driver_connection)
    try:
        async with driver.cursor() as cursor:
            await cursor.execute(f"{_BEGIN}{epoch}".encode(), prepare=False)
            cursor.nextset()
            row = await cursor.fetchone()
    except psycopg.Error:
        if driver.closed:
            # The pool has not seen it, and would try to roll back on a connection that is lost.
            await connection.invalidate()
        raise
    if row is None:
        raise Unavailable("the database did not tell the time")
    return cast("tuple[datetime, str]", row)
