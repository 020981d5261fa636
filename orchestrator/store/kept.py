"""Connections of the pool that stay taken out: taking one out costs as much as a statement."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.store.engines import is_lost
from orchestrator.store.statements import Driver

_KEPT: Final = 2  # one for replies, one for starts; whoever else comes gives theirs back


class Kept:
    """For statements that are transactions of their own, one at a time on each connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._idle: list[tuple[AsyncConnection, Driver]] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Driver]:
        """A connection that nobody else uses meanwhile. After an error it goes to the pool."""
        connection, driver = await self._take()
        try:
            async with given_up_if_lost(connection, driver):
                yield driver
        except BaseException:
            await connection.close()
            raise
        if len(self._idle) < _KEPT:
            self._idle.append((connection, driver))
        else:
            await connection.close()

    async def close(self) -> None:
        while self._idle:
            connection, _ = self._idle.pop()
            await connection.close()

    async def _take(self) -> tuple[AsyncConnection, Driver]:
        while self._idle:
            connection, driver = self._idle.pop()
            if not is_lost(driver):
                return connection, driver
            await connection.invalidate()
            await connection.close()
        connection = await self._engine.connect()
        return connection, await driver_of(connection)


async def driver_of(connection: AsyncConnection) -> Driver:
    """The driver's own connection behind it."""
    raw = await connection.get_raw_connection()
    return cast("Driver", raw.driver_connection)


@asynccontextmanager
async def given_up_if_lost(connection: AsyncConnection, driver: Driver) -> AsyncIterator[None]:
    """What we ask of the driver itself, the pool does not see: it must not roll back afterwards
    on a connection that is lost."""
    try:
        yield
    except psycopg.Error:
        if driver.closed:
            await connection.invalidate()
        raise
