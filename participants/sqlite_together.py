"""Many steps at once in SQLite."""

from collections.abc import Collection, Sequence
from typing import Final, Self

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from participants.inbox import Key
from participants.sql_table import entry_of, saga_inbox
from participants.sql_together import (
    INSERT,
    LOOK,
    UPDATE,
    Held,
    SharedSqlClaim,
    faster,
    filled,
    rows_of_claims,
    rows_of_keys,
)

_GIVEN: Final = (
    "(SELECT json_extract(value, '$.saga_id') AS saga_id,"
    " json_extract(value, '$.step_name') AS step_name,"
    " json_extract(value, '$.state') AS state,"
    " json_extract(value, '$.action_reply') AS action_reply,"
    " json_extract(value, '$.compensation_reply') AS compensation_reply"
    " FROM json_each(:rows)) AS given"
)
_NO_PATIENCE: Final = "true"  # nobody else writes
_LOOK: Final = text(filled(LOOK, given=_GIVEN, patience=_NO_PATIENCE, lock="")).columns(
    saga_inbox.c.saga_id,
    saga_inbox.c.step_name,
    saga_inbox.c.state,
    saga_inbox.c.action_reply,
    saga_inbox.c.compensation_reply,
)
_INSERT: Final = text(filled(INSERT, given=_GIVEN, patience=_NO_PATIENCE))
_UPDATE: Final = text(filled(UPDATE, given=_GIVEN))


class SqliteHeld(Held):
    """The steps of one transaction, which is the only one that writes."""

    @classmethod
    async def look_for(
        cls, connection: AsyncConnection, keys: Collection[Key], *, is_divisible: bool
    ) -> Self:
        found = await connection.execute(_LOOK, {"rows": rows_of_keys(keys)})
        entries = {Key(row.saga_id, row.step_name): entry_of(row) for row in found}
        return cls(connection, keys, entries, is_divisible=is_divisible)

    @classmethod
    async def take_as_new(cls, connection: AsyncConnection, keys: Collection[Key]) -> Self:
        await connection.begin()
        return cls(connection, keys, {}, is_divisible=False)

    async def _commit(
        self, *, new: Sequence[SharedSqlClaim], changed: Sequence[SharedSqlClaim]
    ) -> None:
        if changed:
            await self._connection.execute(_UPDATE, {"rows": rows_of_claims(changed)})
        if new:
            await self._insert(new)
        await self._connection.commit()

    async def _insert(self, new: Sequence[SharedSqlClaim]) -> None:
        try:
            await self._connection.execute(_INSERT, {"rows": rows_of_claims(new)})
        except IntegrityError as error:
            raise faster() from error
