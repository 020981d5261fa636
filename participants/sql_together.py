"""Many steps at once in one transaction: their claims, and the statements for all of them."""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from sqlalchemy import Connection, TextClause, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from messaging.errors import Conflict
from participants.guard import Entry
from participants.inbox import Key
from participants.sql_table import stored_replies

# All rows travel as one JSON array, (given): quicker to write than an SQL array for each column.
# And they are touched in the order of their keys, so that no two batches wait for each other.
# Many commands must not wait long for one: (patience). A handler's own statements give up too.
# As a condition of no row it is seen to first, even if there are no rows.
LOOK: Final = """
    SELECT inbox.saga_id, inbox.step_name, inbox.state,
        inbox.action_reply, inbox.compensation_reply
    FROM (given) JOIN saga_inbox AS inbox
        ON inbox.saga_id = given.saga_id AND inbox.step_name = given.step_name
    WHERE (patience)
    ORDER BY inbox.saga_id, inbox.step_name (lock)"""
INSERT: Final = """
    INSERT INTO saga_inbox (saga_id, step_name, state, action_reply, compensation_reply)
    SELECT saga_id, step_name, state, action_reply, compensation_reply
    FROM (given)
    WHERE (patience) ORDER BY saga_id, step_name"""
UPDATE: Final = """
    UPDATE saga_inbox SET state = given.state, action_reply = given.action_reply,
        compensation_reply = given.compensation_reply, updated_at = CURRENT_TIMESTAMP
    FROM (given)
    WHERE saga_inbox.saga_id = given.saga_id AND saga_inbox.step_name = given.step_name"""


def filled(statement: str, **places: str) -> str:
    """With what stands in one kind of database for (given), (patience) and (lock)."""
    for name, content in places.items():
        statement = statement.replace(f"({name})", content)
    return statement


class Patience:
    """The time limit for locks, in a transaction that begins without it."""

    def __init__(self, limiting: TextClause | None) -> None:
        self._limiting = limiting

    def ensure(self, connection: Connection) -> None:
        if self._limiting is not None:
            connection.execute(self._limiting)
            self._limiting = None


class _WatchedSession(Session):
    """Knows whether its handler has ended a transaction, and so drawn a line of its own."""

    has_ended_one = False


@event.listens_for(_WatchedSession, "after_begin")
def _limit_waiting(session: Session, _: SessionTransaction, connection: Connection) -> None:
    """A handler asks for something: in a batch that has looked for nothing, the first."""
    session.info[Patience].ensure(connection)


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
        patience: Patience,
        *,
        is_divisible: bool,
    ) -> None:
        self.key: Final = key
        self.entry = entry
        self.is_new: Final = entry is None
        self.is_saved = False
        self._connection = connection
        self._patience = patience
        self._is_divisible = is_divisible
        self._session: AsyncSession | None = None

    def session(self) -> AsyncSession:
        if self._session is None:
            self._session = AsyncSession(
                bind=self._connection,
                sync_session_class=_WatchedSession,
                join_transaction_mode="create_savepoint" if self._is_divisible else "rollback_only",
                expire_on_commit=False,
                info={Patience: self._patience},
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


class Held(ABC):
    """The steps of one transaction. What is not there is inserted only at the end: whoever
    inserts it meanwhile wins. `limiting` is said before the first statement of a handler."""

    def __init__(
        self,
        connection: AsyncConnection,
        keys: Collection[Key],
        entries: Mapping[Key, Entry],
        *,
        is_divisible: bool,
        limiting: TextClause | None = None,
    ) -> None:
        patience = Patience(limiting)
        self.claims: Final = {
            key: SharedSqlClaim(
                connection, key, entries.get(key), patience, is_divisible=is_divisible
            )
            for key in keys
        }
        self._connection = connection
        self._transaction = connection.get_transaction()

    @classmethod
    @abstractmethod
    async def look_for(
        cls, connection: AsyncConnection, keys: Collection[Key], *, is_divisible: bool
    ) -> Self:
        """Begin the transaction, and lock what is there of `keys`."""

    @classmethod
    @abstractmethod
    async def take_as_new(cls, connection: AsyncConnection, keys: Collection[Key]) -> Self:
        """The same of steps that are not there, without a look: the end will tell."""

    async def finish(self) -> None:
        """Commit all entries and effects together, or undo them all."""
        if self._transaction is None or not self._transaction.is_active:
            raise Conflict("a handler has ended the transaction of the others")
        saved = [each for each in self.claims.values() if each.is_saved]
        await self._commit(
            new=[each for each in saved if each.is_new],
            changed=[each for each in saved if not each.is_new],
        )

    @abstractmethod
    async def _commit(
        self, *, new: Sequence[SharedSqlClaim], changed: Sequence[SharedSqlClaim]
    ) -> None:
        """Raises Conflict if one of the `new` is there."""

    async def close(self) -> None:
        for each in self.claims.values():
            await each.close()


def faster() -> Conflict:
    return Conflict("somebody else was faster at one of these steps")


def rows_of_keys(keys: Iterable[Key]) -> str:
    return _json([{"saga_id": key.saga_id, "step_name": key.step_name} for key in keys])


def rows_of_claims(claims: Iterable[SharedSqlClaim]) -> str:
    return _json([_row(each.key, each.entry) for each in claims if each.entry])


def _row(key: Key, entry: Entry) -> Mapping[str, Any]:
    action, compensation = stored_replies(entry)
    return {
        "saga_id": key.saga_id,
        "step_name": key.step_name,
        "state": entry.state.value,
        "action_reply": action,
        "compensation_reply": compensation,
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(rows, ensure_ascii=False, allow_nan=False)
