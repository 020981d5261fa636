"""One step of one saga in Postgres: two round trips around whatever the handler asks."""

import json
from contextlib import nullcontext
from typing import Final, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from messaging.errors import SagaError
from participants.guard import Entry
from participants.inbox import Key
from participants.postgres_dialect import FIRST_SAVEPOINT
from participants.postgres_line import DirectLine, begin, is_begun
from participants.sql_errors import translated
from participants.sql_session import HandlerSession
from participants.sql_table import entry_from, stored_replies

BEGIN: Final = b"BEGIN ISOLATION LEVEL READ COMMITTED"
_SAVEPOINT: Final = b"SAVEPOINT " + FIRST_SAVEPOINT.encode()
# It also fails if a handler has ended the transaction, and what it did would not be undone.
_RELEASE: Final = b"RELEASE " + _SAVEPOINT
# The placeholder: `finish` replaces it, or undoes the insert.
_INSERT: Final = (
    b"INSERT INTO saga_inbox (saga_id, step_name, state) VALUES (%s, %s, 'tombstone')"
    b" ON CONFLICT DO NOTHING RETURNING 1"
)
_SELECT: Final = (
    b"SELECT saga_id, step_name, state, action_reply, compensation_reply FROM saga_inbox"
    b" WHERE saga_id = %s AND step_name = %s FOR UPDATE"
)
_UPDATE: Final = (
    b"UPDATE saga_inbox SET state = %s, action_reply = %s, compensation_reply = %s,"
    b" updated_at = now() WHERE saga_id = %s AND step_name = %s"
)
_NO_SUCH_TRANSACTION: Final = frozenset({"25P01", "3B001"})
_FAILED: Final = TransactionStatus.INERROR


class PostgresClaim:
    """A locked row and the transaction that holds it."""

    def __init__(self, connection: AsyncConnection, key: Key) -> None:
        self.entry: Entry | None = None
        self._connection = connection
        self._line = DirectLine(connection)
        self._key = key
        self._which = (self._line.quoted(key.saga_id), self._line.quoted(key.step_name))
        self._session = HandlerSession(connection)
        self._saved: Entry | None = None

    @classmethod
    async def open(cls, connection: AsyncConnection, key: Key) -> Self:
        claim = cls(connection, key)
        with translated():
            claim.entry = await claim._locked_entry()
        claim._line.expect_savepoint(FIRST_SAVEPOINT)
        return claim

    async def _locked_entry(self) -> Entry | None:
        """The entry, locked; None if a row was inserted to hold the place.

        The insert waits for a concurrent transaction that has inserted the same key, and so do
        an action and its compensation wait for each other even when there is no row yet. The
        savepoint is for the handler, who must not undo more than its own.
        """
        start = BEGIN
        while True:
            _, inserted, _ = await self._line.send(start, _INSERT % self._which, _SAVEPOINT)
            if inserted.ntuples:
                return None
            start = _RELEASE
            _, found, _ = await self._line.send(start, _SELECT % self._which, _SAVEPOINT)
            if found.ntuples:
                return entry_in(self._line, self._key, found)

    def session(self) -> AsyncSession:
        if not is_begun(self._connection):
            begin(self._connection)
        return self._session.get()

    async def save(self, entry: Entry) -> None:
        self.entry = self._saved = entry

    async def finish(self) -> None:
        """Commit effects and entry together, or undo both."""
        if self._saved is None:
            await self._undo()
            return
        await self._session.commit()
        try:
            await self._line.send(_RELEASE, self._update_to(self._saved), b"COMMIT")
        except psycopg.Error as error:
            if error.sqlstate in _NO_SUCH_TRANSACTION:
                raise _ended_by_handler(self._key) from error
            # What the server has against the effects, it says in answer to the COMMIT.
            with translated() if self._line.status == _FAILED else nullcontext():
                raise

    async def _undo(self) -> None:
        if is_begun(self._connection):
            await self._connection.rollback()
        else:
            await self._line.rollback()

    def _update_to(self, entry: Entry) -> bytes:
        forms = (json.dumps(each) if each else None for each in stored_replies(entry))
        values = (self._line.quoted(each) for each in (entry.state.value, *forms))
        return _UPDATE % (*values, *self._which)

    async def close(self) -> None:
        self._line.expect_savepoint(None)
        await self._session.close()


def entry_in(line: DirectLine, key: Key, found: PGresult, row: int = 0) -> Entry:
    """Of columns in the order of the table's."""
    state, *replies = (line.text(found, column, row) for column in range(2, 5))
    action, compensation = (json.loads(reply) if reply else None for reply in replies)
    return entry_from(key, str(state), action, compensation)


def _ended_by_handler(key: Key) -> SagaError:
    return SagaError(
        f"the handler of step {key.step_name!r} has ended the transaction that its answer"
        " belongs to; leave COMMIT and ROLLBACK to context.session"
    )
