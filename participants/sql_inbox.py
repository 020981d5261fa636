"""The inbox in Postgres or SQLite: one table, in the transaction of the handler's own SQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import (
    delete,
    func,
    inspect,
    select,
    text,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from messaging.errors import Unavailable
from participants.guard import State
from participants.idempotent_table import idempotent_steps, purge_steps
from participants.inbox import Claim, Key, Prepare, SharedClaim
from participants.postgres_claim import PostgresClaim
from participants.postgres_together import PostgresHeld
from participants.sql_engine import engine_for, is_sqlite, reading
from participants.sql_errors import as_conflict, as_unavailable, translated
from participants.sql_table import metadata, saga_inbox
from participants.sql_together import Held
from participants.sqlite_claim import SqliteClaim
from participants.sqlite_together import SqliteHeld

_AWAITED: Final = (State.LATER.value, State.COMPENSATING.value)
_KEY_COLUMNS: Final = (saga_inbox.c.saga_id, saga_inbox.c.step_name)
_LOCK: Final = 0x5A6A_1B0C  # of all Countermand inboxes while their tables are created
PURGED_AT_A_TIME: Final = 1000
_PURGE_PAUSE: Final = 0.1  # seconds, for the commands
_PING_WAIT: Final = 5.0
_GATE_WAIT: Final = 30.0  # seconds for SQLite's single writer


class _Gate(Protocol):
    """What a claim passes before it asks for a connection."""

    def __call__(self) -> AbstractAsyncContextManager[None]: ...


class SqlInbox:
    """Entries in `saga_inbox`. At most `connections` claims at a time; others wait."""

    contains_effects: Final = True

    def __init__(self, url: str, *, connections: int = 10) -> None:
        self.engine: Final[AsyncEngine] = engine_for(url, connections)
        self.gate: Final[_Gate] = _SingleWriter() if is_sqlite(self.engine) else nullcontext
        self._one: Final = SqliteClaim if is_sqlite(self.engine) else PostgresClaim
        self._many: Final = SqliteHeld if is_sqlite(self.engine) else PostgresHeld

    async def prepare(self, preparations: Sequence[Prepare]) -> None:
        with translated():
            async with self.gate(), self.engine.begin() as connection:
                if not is_sqlite(self.engine):
                    lock = text("SELECT pg_advisory_xact_lock(:lock)")
                    await connection.execute(lock, {"lock": _LOCK})
                await connection.run_sync(_create_missing)
                for prepare in preparations:
                    await prepare(connection)

    @asynccontextmanager
    async def claim(self, saga_id: str, step_name: str) -> AsyncIterator[Claim]:
        key = Key(saga_id, step_name)
        with as_unavailable():
            async with self.gate(), self.engine.connect() as connection:
                claim = await self._one.open(connection, key)
                try:
                    yield claim
                    await claim.finish()
                finally:
                    await claim.close()

    def claim_all(
        self, keys: Collection[Key], *, is_divisible: bool
    ) -> AbstractAsyncContextManager[Mapping[Key, SharedClaim]]:
        return self._claim_together(
            partial(self._many.look_for, keys=keys, is_divisible=is_divisible)
        )

    def claim_new(
        self, keys: Collection[Key]
    ) -> AbstractAsyncContextManager[Mapping[Key, SharedClaim]]:
        return self._claim_together(partial(self._many.take_as_new, keys=keys))

    @asynccontextmanager
    async def _claim_together(
        self, hold: Callable[[AsyncConnection], Awaitable[Held]]
    ) -> AsyncIterator[Mapping[Key, SharedClaim]]:
        with as_unavailable():
            async with self.gate(), self.engine.connect() as connection:
                with as_conflict():
                    held = await hold(connection)
                try:
                    yield held.claims
                    with as_conflict():
                        await held.finish()
                finally:
                    await held.close()

    async def ping(self) -> None:
        with translated():
            async with asyncio.timeout(_PING_WAIT), reading(self.engine).connect() as connection:
                await connection.scalar(select(1))

    async def purge(self, older_than: timedelta) -> int:
        """And expired idempotent steps, if they are kept in this database."""
        return await self.purge_by(partial(_purge_some, older_than=older_than)) + (
            await self.purge_by(_purge_expired_steps)
        )

    async def purge_by(self, purge_some: Callable[[AsyncConnection], Awaitable[int]]) -> int:
        """Let `purge_some` delete at most `PURGED_AT_A_TIME` rows, until it finds fewer."""
        purged = 0
        with translated():
            while True:
                async with self.gate(), self.engine.begin() as connection:
                    count = await purge_some(connection)
                purged += count
                if count < PURGED_AT_A_TIME:
                    return purged
                await asyncio.sleep(_PURGE_PAUSE)

    async def close(self) -> None:
        await self.engine.dispose()


class _SingleWriter:
    """SQLite has one writer: claims of this process queue here, in order, not in the file."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_GATE_WAIT):
                await self._lock.acquire()
        except TimeoutError as error:
            raise Unavailable(f"SQLite's single writer was busy for {_GATE_WAIT:g} s") from error
        try:
            yield
        finally:
            self._lock.release()


def _create_missing(connection: SyncConnection) -> None:
    """Looks first: the role may lack the right to create what is there already."""
    if not inspect(connection).has_table(saga_inbox.name):
        metadata.create_all(connection)


async def _purge_some(connection: AsyncConnection, older_than: timedelta) -> int:
    now = (await connection.execute(select(func.now()))).scalar_one()
    old = (
        select(*_KEY_COLUMNS)
        .where(saga_inbox.c.updated_at <= now - older_than, saga_inbox.c.state.not_in(_AWAITED))
        .order_by(saga_inbox.c.updated_at)  # by its index
        .limit(PURGED_AT_A_TIME)
        .with_for_update(skip_locked=True)
    )
    done = await connection.execute(delete(saga_inbox).where(tuple_(*_KEY_COLUMNS).in_(old)))
    return done.rowcount


async def _purge_expired_steps(connection: AsyncConnection) -> int:
    return await connection.run_sync(_purge_steps_if_any)


def _purge_steps_if_any(connection: SyncConnection) -> int:
    is_there = inspect(connection).has_table(idempotent_steps.name)
    return purge_steps(connection, PURGED_AT_A_TIME) if is_there else 0
