"""One step of one saga in SQLite: a row, and the handler's own SQL in the same transaction."""

from collections.abc import Mapping
from typing import Any, Final, Self

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from participants.guard import Entry, State
from participants.inbox import Key
from participants.sql_errors import translated
from participants.sql_session import HandlerSession
from participants.sql_table import entry_of, saga_inbox, stored_replies

# Built once: to build a statement costs more than to execute it.
_INSERT: Final = insert(saga_inbox).on_conflict_do_nothing().returning(saga_inbox.c.saga_id)
_IS_KEY: Final = and_(
    saga_inbox.c.saga_id == bindparam("its_saga_id"),
    saga_inbox.c.step_name == bindparam("its_step_name"),
)
_SELECT: Final = select(saga_inbox).where(_IS_KEY)
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


class SqliteClaim:
    """A row and the transaction that holds it, which is the only one that writes."""

    def __init__(self, connection: AsyncConnection, key: Key, entry: Entry | None) -> None:
        self.entry = entry
        self._connection = connection
        self._key = key
        self._session = HandlerSession(connection)
        self._saved: Entry | None = None

    @classmethod
    async def open(cls, connection: AsyncConnection, key: Key) -> Self:
        with translated():
            return cls(connection, key, await _entry_in_place(connection, key))

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


async def _entry_in_place(connection: AsyncConnection, key: Key) -> Entry | None:
    """The entry; None if a row was inserted to hold the place."""
    # The placeholder: `finish` replaces it, or undoes the insert.
    new = {"saga_id": key.saga_id, "step_name": key.step_name, "state": State.TOMBSTONE.value}
    inserted = await connection.execute(_INSERT, new)
    if inserted.one_or_none() is not None:
        return None
    return entry_of((await connection.execute(_SELECT, _which(key))).one())


def _which(key: Key) -> Mapping[str, Any]:
    """The parameters of `_IS_KEY`."""
    return {"its_saga_id": key.saga_id, "its_step_name": key.step_name}


def _values(entry: Entry) -> Mapping[str, Any]:
    """The parameters of `_UPDATE` beside those."""
    action, compensation = stored_replies(entry)
    return {
        "new_state": entry.state.value,
        "new_action_reply": action,
        "new_compensation_reply": compensation,
    }
