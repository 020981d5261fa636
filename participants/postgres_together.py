"""Many steps at once in Postgres: a round trip to look for them, if that is needed, and one to
store them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, Self

from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from participants.guard import Entry
from participants.inbox import Key
from participants.postgres_claim import BEGIN, entry_in
from participants.postgres_line import DirectLine, begin
from participants.sql_table import saga_inbox
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
    "json_to_recordset(CAST(%s AS json)) AS given(saga_id varchar,"
    " step_name varchar, state varchar, action_reply jsonb, compensation_reply jsonb)"
)
_LIMIT: Final = "SELECT set_config('lock_timeout', '500ms', true)"
_PATIENCE: Final = f"({_LIMIT}) IS NOT NULL"
_LOCK: Final = "FOR UPDATE OF inbox"
_LOOK: Final = filled(LOOK, given=_GIVEN, patience=_PATIENCE, lock=_LOCK).encode()
_INSERT: Final = filled(INSERT, given=_GIVEN, patience=_PATIENCE).encode()
_UPDATE: Final = filled(UPDATE, given=_GIVEN).encode()
_IDLE: Final = TransactionStatus.IDLE


class PostgresHeld(Held):
    """The steps of one transaction. Without a look, and if no handler asks the database for
    anything, the only statement is the one that stores them, and a transaction of its own."""

    @classmethod
    async def look_for(
        cls, connection: AsyncConnection, keys: Collection[Key], *, is_divisible: bool
    ) -> Self:
        line = DirectLine(connection)
        _, found = await line.send(BEGIN, _LOOK % line.quoted(rows_of_keys(keys)))
        begin(connection)
        entries = dict(_entries_in(line, found))
        return cls(connection, keys, entries, is_divisible=is_divisible)

    @classmethod
    async def take_as_new(cls, connection: AsyncConnection, keys: Collection[Key]) -> Self:
        begin(connection)
        return cls(connection, keys, {}, is_divisible=False, limiting=text(_LIMIT))

    async def _commit(
        self, *, new: Sequence[SharedSqlClaim], changed: Sequence[SharedSqlClaim]
    ) -> None:
        line = DirectLine(self._connection)
        statements = []
        if changed:
            statements.append(_UPDATE % line.quoted(rows_of_claims(changed)))
        if new:
            statements.append(_INSERT % line.quoted(rows_of_claims(new)))
        if line.status != _IDLE:
            statements.append(b"COMMIT")
        if not statements:
            return
        try:
            await line.send(*statements)
        except UniqueViolation as error:
            if error.diag.table_name == saga_inbox.name:
                raise faster() from error
            raise


def _entries_in(line: DirectLine, found: PGresult) -> Iterator[tuple[Key, Entry]]:
    for row in range(found.ntuples):
        key = Key(*(str(line.text(found, column, row)) for column in range(2)))
        yield key, entry_in(line, key, found, row)
