"""Many steps at once in Postgres or SQLite: one transaction, one statement for all of them."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import TextClause, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from messaging.errors import Conflict
from participants.guard import Entry
from participants.inbox import Key
from participants.sql_table import entry_of, saga_inbox, stored_form

_IDLE: Final = TransactionStatus.IDLE
# Many commands must not wait long for one. A handler's own statements give up after it, too.
_PATIENCE: Final = {
    "postgresql": "(SELECT set_config('lock_timeout', '500ms', true)) AS patience (is_set)",
    "sqlite": "(SELECT 1 AS is_set) AS patience",
}
# All rows travel as one JSON array: quicker to write than an SQL array for each column. And
# they are touched in the order of their keys, so that no two batches wait for each other.
_GIVEN: Final = {
    "postgresql": "json_to_recordset(CAST(:rows AS json)) AS given(saga_id varchar,"
    " step_name varchar, state varchar, action_reply jsonb, compensation_reply jsonb)",
    "sqlite": "(SELECT json_extract(value, '$.saga_id') AS saga_id,"
    " json_extract(value, '$.step_name') AS step_name,"
    " json_extract(value, '$.state') AS state,"
    " json_extract(value, '$.action_reply') AS action_reply,"
    " json_extract(value, '$.compensation_reply') AS compensation_reply"
    " FROM json_each(:rows)) AS given",
}
_LOCK: Final = {"postgresql": "FOR UPDATE OF inbox", "sqlite": ""}
_LOOK: Final = """
    SELECT inbox.saga_id, inbox.step_name, inbox.state,
        inbox.action_reply, inbox.compensation_reply
    FROM (patience) CROSS JOIN (given) JOIN saga_inbox AS inbox
        ON inbox.saga_id = given.saga_id AND inbox.step_name = given.step_name
    WHERE patience.is_set IS NOT NULL
    ORDER BY inbox.saga_id, inbox.step_name (lock)"""
_INSERT: Final = """
    INSERT INTO saga_inbox (saga_id, step_name, state, action_reply, compensation_reply)
    SELECT saga_id, step_name, state, action_reply, compensation_reply
    FROM (patience) CROSS JOIN (given)
    WHERE patience.is_set IS NOT NULL ORDER BY saga_id, step_name"""
_UPDATE: Final = """
    UPDATE saga_inbox SET state = given.state, action_reply = given.action_reply,
        compensation_reply = given.compensation_reply, updated_at = CURRENT_TIMESTAMP
    FROM (given)
    WHERE saga_inbox.saga_id = given.saga_id AND saga_inbox.step_name = given.step_name"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statements:
    look: Any
    insert: TextClause  # all of them, or IntegrityError
    update: TextClause


def _statements(dialect: str) -> _Statements:
    def filled(statement: str) -> TextClause:
        fitting = {"(given)": _GIVEN, "(patience)": _PATIENCE, "(lock)": _LOCK}
        for place, texts in fitting.items():
            statement = statement.replace(place, texts[dialect])
        return text(statement)

    columns = saga_inbox.c
    found = (columns.saga_id, columns.step_name, columns.state)
    replies = (columns.action_reply, columns.compensation_reply)
    return _Statements(
        look=filled(_LOOK).columns(*found, *replies),
        insert=filled(_INSERT),
        update=filled(_UPDATE),
    )


_STATEMENTS: Final = {dialect: _statements(dialect) for dialect in _GIVEN}


class _WatchedSession(Session):
    """Knows whether its handler has ended a transaction, and so drawn a line of its own."""

    has_ended_one = False


@event.listens_for(_WatchedSession, "after_commit")
@event.listens_for(_WatchedSession, "after_rollback")
def _note_end(session: _WatchedSession) -> None:
    session.has_ended_one = True


class SharedSqlClaim:
    """One of the steps, and the session of its handler, in a savepoint if it `is_divisible`."""

    def __init__(
        self,
        connection: AsyncConnection,
        key: Key,
        entry: Entry | None,
        *,
        is_divisible: bool,
    ) -> None:
        self.key: Final = key
        self.entry = entry
        self.is_new: Final = entry is None
        self.is_saved = False
        self._connection = connection
        self._is_divisible = is_divisible
        self._session: AsyncSession | None = None

    def session(self) -> AsyncSession:
        if self._session is None:
            self._session = AsyncSession(
                bind=self._connection,
                sync_session_class=_WatchedSession,
                join_transaction_mode="create_savepoint" if self._is_divisible else "rollback_only",
                expire_on_commit=False,
            )
        return self._session

    async def save(self, entry: Entry) -> None:
        self.entry = entry
        self.is_saved = True

    async def keep(self) -> None:
        if self._session is None:
            return
        if self._has_lines_of_its_own() and not self._is_divisible:
            raise self._not_alone()  # a rollback of its own was one for all
        await self._session.commit()
        await self.close()

    async def undo(self) -> None:
        if self._session is None:
            return
        if self._has_lines_of_its_own() or not self._is_divisible:
            raise self._not_alone()
        await self._session.rollback()
        await self.close()

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _has_lines_of_its_own(self) -> bool:
        session = self._session and self._session.sync_session
        return isinstance(session, _WatchedSession) and session.has_ended_one

    def _not_alone(self) -> Conflict:
        return Conflict(f"step {self.key.step_name!r} cannot be undone without the others")


class Held:
    """The steps of one transaction."""

    def __init__(self, connection: AsyncConnection, claims: Mapping[Key, SharedSqlClaim]) -> None:
        self.claims: Final = claims
        self._connection = connection
        self._transaction = connection.get_transaction()

    async def finish(self) -> None:
        """Commit all entries and effects together, or undo them all."""
        if self._transaction is None or not self._transaction.is_active:
            raise Conflict("a handler has ended the transaction of the others")
        saved = [each for each in self.claims.values() if each.is_saved]
        new = [each for each in saved if each.is_new]
        if len(new) < len(saved):
            update = _STATEMENTS[self._connection.dialect.name].update
            changed = (each for each in saved if not each.is_new)
            await self._connection.execute(update, _rows(changed))
        elif not await _has_begun(self._connection):
            await self._transaction.rollback()  # of nothing: no round trip
            await self._connection.execution_options(isolation_level="AUTOCOMMIT")
        if new:
            await self._insert(new)
        await self._connection.commit()

    async def _insert(self, new: Sequence[SharedSqlClaim]) -> None:
        try:
            insert = _STATEMENTS[self._connection.dialect.name].insert
            await self._connection.execute(insert, _rows(new))
        except IntegrityError as error:
            raise Conflict("somebody else was faster at one of these steps") from error

    async def close(self) -> None:
        for each in self.claims.values():
            await each.close()


async def hold(connection: AsyncConnection, keys: Collection[Key], *, is_divisible: bool) -> Held:
    """Begin the transaction, and lock what is there of `keys`.

    What is not there is inserted only at the end. Whoever inserts it meanwhile wins.
    """
    asked = [{"saga_id": key.saga_id, "step_name": key.step_name} for key in keys]
    look = _STATEMENTS[connection.dialect.name].look
    found = await connection.execute(look, {"rows": _json(asked)})
    entries = {Key(row.saga_id, row.step_name): entry_of(row) for row in found}
    return _held(connection, keys, entries, is_divisible=is_divisible)


async def hold_new(connection: AsyncConnection, keys: Collection[Key]) -> Held:
    """The same of steps that are not there, without a look: the end will tell. If no handler
    asks the database for anything, that is the only statement, and a transaction of its own."""
    await connection.begin()  # on Postgres sent with the first statement
    return _held(connection, keys, {}, is_divisible=False)


def _held(
    connection: AsyncConnection,
    keys: Collection[Key],
    entries: Mapping[Key, Entry],
    *,
    is_divisible: bool,
) -> Held:
    claims = {
        key: SharedSqlClaim(connection, key, entries.get(key), is_divisible=is_divisible)
        for key in keys
    }
    return Held(connection, claims)


async def _has_begun(connection: AsyncConnection) -> bool:
    """Whether the server knows of the transaction."""
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        return True
    return driver.info.transaction_status is not _IDLE


def _rows(claims: Iterable[SharedSqlClaim]) -> Mapping[str, str]:
    return {"rows": _json([_row(each.key, each.entry) for each in claims if each.entry])}


def _row(key: Key, entry: Entry) -> Mapping[str, Any]:
    return {
        "saga_id": key.saga_id,
        "step_name": key.step_name,
        "state": entry.state.value,
        "action_reply": stored_form(entry.action_reply),
        "compensation_reply": stored_form(entry.compensation_reply),
    }


def _json(rows: list[Mapping[str, Any]] | list[dict[str, str]]) -> str:
    return json.dumps(rows, ensure_ascii=False, allow_nan=False)
