"""Statements asked of the driver's own connection, without a cursor of the driver's in between.

What a cursor does beside, finding types, preparing, waiting twice, costs as much as a small
statement. See docs/adr/0028-a-lone-step-asks-postgres-directly.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.pq import Format
from psycopg.pq.abc import PGresult

from chassis.patience import ImpatientConnection

Value = bytes | None  # in binary, as it is sent


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One that every connection prepares once."""

    text: bytes  # its parameters are $1, $2, …
    types: Sequence[int]  # theirs: OIDs of Postgres's catalogue


class Line:
    """A connection, for one question at a time. After an error it must not be used again."""

    def __init__(self, driver: ImpatientConnection) -> None:
        self.driver: Final = driver
        self._prepared: dict[Statement, bytes] = {}

    async def ask(self, statement: Statement, values: Sequence[Value]) -> PGresult:
        """What the server answers, in binary. Raises psycopg.Error."""
        name = self._prepared.get(statement) or await self._prepare(statement)
        formats = [Format.BINARY] * len(values)
        self.driver.pgconn.send_query_prepared(name, values, formats, Format.BINARY)
        [answer] = await self.driver.answers()
        return answer

    async def _prepare(self, statement: Statement) -> bytes:
        name = f"countermand_{len(self._prepared)}".encode()
        self.driver.pgconn.send_prepare(name, statement.text, statement.types)
        await self.driver.answers()
        self._prepared[statement] = name
        return name
