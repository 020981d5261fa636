"""Connections of the pool that stay taken out: taking one out costs as much as a statement."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chassis.patience import ImpatientConnection
from orchestrator.store.direct import Line
from orchestrator.store.engines import is_lost
from orchestrator.store.errors import is_not_prepared
from orchestrator.store.statements import Driver

# A plan that was made while the table was young would read all of it, until the next ANALYZE:
# some milliseconds more for each step. And since nothing is known of the arrays beforehand, a
# plan for these very values is no better than the one that is there, and costs as much as the
# statement.
_PLANNING: Final = b"SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"
_KEPT: Final = 2  # one for replies, one for starts; whoever else comes gives theirs back


class Kept:
    """For statements that are transactions of their own, one at a time on each connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._idle: list[tuple[AsyncConnection, Line]] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Line]:
        """A connection that nobody else uses meanwhile. After an error it is given up."""
        connection, line = await self._take()
        try:
            async with given_up_if_lost(connection, line.driver):
                yield line
        except BaseException:
            await _give_up(connection)
            raise
        if len(self._idle) < _KEPT:
            self._idle.append((connection, line))
        else:
            await _give_up(connection)

    async def close(self) -> None:
        while self._idle:
            connection, _ = self._idle.pop()
            await _give_up(connection)

    async def _take(self) -> tuple[AsyncConnection, Line]:
        while self._idle:
            connection, line = self._idle.pop()
            if not is_lost(line.driver):
                return connection, line
            await _give_up(connection)
        connection = await self._engine.connect()
        try:
            driver = await driver_of(connection)
            await driver.execute(_PLANNING)
        except BaseException:
            await _give_up(connection)
            raise
        return connection, Line(driver)


async def _give_up(connection: AsyncConnection) -> None:
    """Nobody else is to have it: it plans in its own way."""
    await connection.invalidate()
    await connection.close()


async def driver_of(connection: AsyncConnection) -> ImpatientConnection:
    """The driver's own connection behind it."""
    raw = await connection.get_raw_connection()
    return cast("ImpatientConnection", raw.driver_connection)


@asynccontextmanager
async def given_up_if_lost(
    connection: AsyncConnection, driver: Driver, *, is_prepared: bool = False
) -> AsyncIterator[None]:
    """What we ask of the driver itself, the pool does not see: it must not roll back afterwards
    on a connection that is lost, nor hand out one whose prepared statements are."""
    try:
        yield
    except psycopg.Error as error:
        if driver.closed or (is_prepared and is_not_prepared(error)):
            await connection.invalidate()
        raise
