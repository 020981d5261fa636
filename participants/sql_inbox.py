"""The inbox in Postgres or SQLite: one table, in the transaction of the handler's own SQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import (
    and_,
    bindparam,
    delete,
    func,
    inspect,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from messaging.errors import Unavailable
from participants.guard import Entry, State
from participants.idempotent_table import idempotent_steps, purge_steps
from participants.inbox import Claim, Key, Prepare, SharedClaim
from participants.sql_engine import engine_for, is_sqlite, reading
from participants.sql_errors import as_conflict, as_unavailable, translated
from participants.sql_session import HandlerSession
from participants.sql_table import entry_of, metadata, saga_inbox, stored_form
from participants.sql_together import Held, hold, hold_new

_AWAITED: Final = (State.LATER.value, State.COMPENSATING.value)
_KEY_COLUMNS: Final = (saga_inbox.c.saga_id, saga_inbox.c.step_name)
# Built once: to build a statement costs more than to execute it.
_INSERTS: Final = {
    name: insert(saga_inbox).on_conflict_do_nothing().returning(saga_inbox.c.saga_id)
    for name, insert in (("postgresql", postgres_insert), ("sqlite", sqlite_insert))
}
_IS_KEY: Final = and_(
    saga_inbox.c.saga_id == bindparam("its_saga_id"),
    saga_inbox.c.step_name == bindparam("its_step_name"),
)
_SELECT: Final = select(saga_inbox).where(_IS_KEY).with_for_update()
_UPDATE: Final = (
    update(saga_inbox)
    .where(_IS_KEY)
    .values(
        state=bindparam("new_state"),
        action_reply=bindparam("new_action_reply"),
        compensation_reply=bindparam("new_compensation_reply"),
        updated_at=func.now(),
    )
)
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
                with translated():
                    entry = await _locked_entry(connection, key)
                claim = _SqlClaim(connection, key, entry)
                try:
                    yield claim
                    await claim.finish()
                finally:
                    await claim.close()

    def claim_all(
        self, keys: Collection[Key], *, is_divisible: bool
    ) -> AbstractAsyncContextManager[Mapping[Key, SharedClaim]]:
        return self._claim_together(partial(hold, keys=keys, is_divisible=is_divisible))

    def claim_new(
        self, keys: Collection[Key]
    ) -> AbstractAsyncContextManager[Mapping[Key, SharedClaim]]:
        return self._claim_together(partial(hold_new, keys=keys))

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


class _SqlClaim:
    """A locked row and the transaction that holds it."""

    def __init__(self, connection: AsyncConnection, key: Key, entry: Entry | None) -> None:
        self.entry = entry
        self._connection = connection
        self._key = key
        self._session = HandlerSession(connection)
        self._saved: Entry | None = None

    def session(self) -> AsyncSession:
        return self._session.get()

    async def save(self, entry: Entry) -> None:
        self.entry = self._saved = entry

    async def finish(self) -> None:
        """Commit effects and entry together, or undo both."""
        if self._saved is None:
            await self._connection.rollback()
            return
        await self._session.commit()
        with translated():
            await self._connection.execute(_UPDATE, {**_which(self._key), **_values(self._saved)})
        await self._connection.commit()

    async def close(self) -> None:
        await self._session.close()


def _create_missing(connection: SyncConnection) -> None:
    """Looks first: the role may lack the right to create what is there already."""
    if not inspect(connection).has_table(saga_inbox.name):
        metadata.create_all(connection)


async def _locked_entry(connection: AsyncConnection, key: Key) -> Entry | None:
    """The entry, locked; None if a row was inserted to hold the place.

    The insert waits for a concurrent transaction that has inserted the same key, and so do
    an action and its compensation wait for each other even when there is no row yet.
    """
    # The placeholder: `finish` replaces it, or undoes the insert.
    new = {"saga_id": key.saga_id, "step_name": key.step_name, "state": State.TOMBSTONE.value}
    while True:
        inserted = await connection.execute(_INSERTS[connection.dialect.name], new)
        if inserted.one_or_none() is not None:
            return None
        row = (await connection.execute(_SELECT, _which(key))).one_or_none()
        if row is not None:
            return entry_of(row)


def _which(key: Key) -> Mapping[str, Any]:
    """The parameters of `_IS_KEY`."""
    return {"its_saga_id": key.saga_id, "its_step_name": key.step_name}


def _values(entry: Entry) -> Mapping[str, Any]:
    """The parameters of `_UPDATE` beside those."""
    return {
        "new_state": entry.state.value,
        "new_action_reply": stored_form(entry.action_reply),
        "new_compensation_reply": stored_form(entry.compensation_reply),
    }


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
