"""Hearing that sagas are due, over one connection that only listens."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

CHANNEL: Final = "countermand_due"


class Listener:
    """Hears `NOTIFY countermand_due`. Without its connection it only waits; for one waiter."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def wait(self, timeout: float) -> None:
        """Return when notified since the last call, or after `timeout` seconds.

        After a new connection it returns at once: something may have been missed before.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            if self._connection is None:
                async with asyncio.timeout_at(deadline):
                    self._connection = await self._connect()
            else:
                await _hear(self._connection, timeout)
        except (psycopg.Error, OSError):
            await self.close()
            await asyncio.sleep(deadline - asyncio.get_running_loop().time())

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        connect = psycopg.AsyncConnection.connect
        connection = await connect(**self._arguments, autocommit=True)
        try:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        except BaseException:  # also when our time is up: nobody else knows of this connection
            await connection.close()
            raise
        return connection


async def _hear(connection: psycopg.AsyncConnection[Any], timeout: float) -> None:
    """Wait for one notification, and take all that have come with it."""
    async for _ in connection.notifies(timeout=timeout, stop_after=1):
        pass
    async for _ in connection.notifies(timeout=0):
        pass
