"""Statements asked of the driver's own connection, without a cursor of the driver's in between.

What a cursor does beside, finding types, preparing, waiting twice, costs as much as a small
statement. See docs/adr/0028-a-lone-step-asks-postgres-directly.md.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
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
        with self.driver.impatiently():
            name = self._prepared.get(statement) or await self._prepare(statement)
            formats = [Format.BINARY] * len(values)
            self.driver.pgconn.send_query_prepared(name, values, formats, Format.BINARY)
            return await self._answer()

    async def _prepare(self, statement: Statement) -> bytes:
        name = f"countermand_{len(self._prepared)}".encode()
        self.driver.pgconn.send_prepare(name, statement.text, statement.types)
        await self._answer()
        self._prepared[statement] = name
        return name

    async def _answer(self) -> PGresult:
        server, results = self.driver.pgconn, []
        while server.flush():
            await self._readiness(to_write=True)
            server.consume_input()
        while True:
            while server.is_busy():
                await self._readiness()
                server.consume_input()
            result = server.get_result()
            if result is None:
                break
            results.append(result)
        if results[-1].status == ExecStatus.FATAL_ERROR:
            raise error_from_result(results[-1], encoding=self.driver.info.encoding)
        return results[-1]

    async def _readiness(self, *, to_write: bool = False) -> None:
        """Until there is something to read, or room for what is left to write."""
        loop, socket = asyncio.get_running_loop(), self.driver.pgconn.socket
        ready = loop.create_future()
        loop.add_reader(socket, _tell, ready)
        if to_write:
            loop.add_writer(socket, _tell, ready)
        try:
            await ready
        finally:
            loop.remove_reader(socket)
            if to_write:
                loop.remove_writer(socket)


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
