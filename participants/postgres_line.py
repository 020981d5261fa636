"""Postgres without SQLAlchemy in between: several statements in one round trip.

What the guard itself says is said here; what handlers say goes through their session. Both are
on one connection and in one transaction.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

import psycopg
from psycopg import pq
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from participants.postgres_dialect import PatientConnection

_NULL: Final = b"NULL"


class DirectLine:
    """The driver's own connection behind one of the pool's."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        pooled = cast("Connection", connection.sync_connection).connection
        self._driver = cast("PatientConnection", pooled.driver_connection)
        self._encoding = self._driver.info.encoding
        self._escaping = pq.Escaping(self._driver.pgconn)

    @property
    def status(self) -> TransactionStatus:
        """Of the transaction, as the server has said last."""
        return TransactionStatus(self._driver.pgconn.transaction_status)

    def expect_savepoint(self, name: str | None) -> None:
        """Let SQLAlchemy's first savepoint be one that we have set; None: it sets its own."""
        self._driver.has_savepoint = name

    def quoted(self, value: str | None) -> bytes:
        """As it may stand in a statement."""
        if value is None:
            return _NULL
        return bytes(self._escaping.escape_literal(value.encode(self._encoding)))

    def text(self, result: PGresult, column: int, row: int = 0) -> str | None:
        """A value of a result."""
        value = result.get_value(row, column)
        return None if value is None else value.decode(self._encoding)

    async def send(self, *statements: bytes) -> Sequence[PGresult]:
        """What each of them has given, after one round trip. Raises psycopg.Error for the first
        that fails; those after it are then not executed."""
        try:
            return await self._answers_to(b";".join(statements))
        except psycopg.Error:
            await self._give_up_if_lost()
            raise

    async def rollback(self) -> None:
        try:
            await self._driver.rollback()
        except psycopg.Error:
            await self._give_up_if_lost()
            raise

    async def _answers_to(self, message: bytes) -> Sequence[PGresult]:
        """By the simple protocol: only there may one message have several statements."""
        driver = self._driver
        async with driver.lock:
            driver.pgconn.send_query(message)
            return await driver.answers()

    async def _give_up_if_lost(self) -> None:
        """Let the pool see it in its own way: it then gives up the others too, which are as old."""
        if self._driver.closed:
            with suppress(SQLAlchemyError):
                await self._connection.exec_driver_sql("SELECT 1")


def begin(connection: AsyncConnection) -> None:
    """The transaction as SQLAlchemy sees it, for a handler's session. The server hears nothing
    of it: it has heard of it from us, or else the driver says BEGIN before the first statement."""
    cast("Connection", connection.sync_connection).begin()


def is_begun(connection: AsyncConnection) -> bool:
    """Whether SQLAlchemy knows of a transaction, be it one that is lost."""
    return cast("Connection", connection.sync_connection).get_transaction() is not None
