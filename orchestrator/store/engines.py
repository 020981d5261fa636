"""Database URLs and the engines made of them, for the store and for the migrations."""

import select
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from chassis import sqlite
from chassis.patience import ImpatientConnection
from chassis.urls import masked
from messaging.errors import ConfigurationError
from orchestrator.store import arrays
from orchestrator.store.errors import is_not_prepared

_DRIVERS: Final = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}

# A server that does not answer must not hold a worker: the kernel gives up after 10 s.
_POSTGRES: Final[dict[str, Any]] = {
    "application_name": "countermand",
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
_POSTGRES_SESSION: Final = (
    "-c statement_timeout=5s -c lock_timeout=2s "
    "-c idle_in_transaction_session_timeout=15s -c TimeZone=UTC"
)

# FULL: a commit that has been answered survives a power cut.
_DURABLE: Final = ("busy_timeout=2000", "synchronous=FULL")
_FAST: Final = ("busy_timeout=2000", "synchronous=OFF")


def database_url_of(database_url: str) -> URL:
    """The URL with its asynchronous driver. Raises ConfigurationError for others."""
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise _unknown(database_url) from None
    if url.drivername not in _DRIVERS:
        raise _unknown(database_url)
    return url.set(drivername=_DRIVERS[url.drivername])


def _unknown(database_url: str) -> ConfigurationError:
    return ConfigurationError(
        f"SAGA_DATABASE_URL {masked(database_url)!r} names no database that Countermand knows; "
        "use postgresql://user:password@host/database or sqlite:///file"
    )


def is_memory(url: URL) -> bool:
    """True for a SQLite database that nobody wants to keep."""
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def engine_for(url: URL) -> AsyncEngine:
    """An engine with our timeouts; its transactions really are transactions."""
    return sqlite_engine(url) if url.get_backend_name() == "sqlite" else postgres_engine(url)


def postgres_engine(url: URL, *, isolation_level: str = "READ COMMITTED") -> AsyncEngine:
    """Its connections are looked at before they are used."""
    engine = create_async_engine(
        "postgresql+psycopg://",
        connect_args={
            **postgres_arguments(url),
            "async_creator_fn": _connection_class(url).connect,
        },
        hide_parameters=True,
        isolation_level=isolation_level,
        max_overflow=5,
        pool_recycle=1800,
        pool_size=5,
        pool_timeout=5,
    )
    event.listen(engine.sync_engine, "connect", _prepare_postgres)
    event.listen(engine.sync_engine, "checkout", _refuse_lost)
    event.listen(engine.sync_engine, "handle_error", _give_up_if_not_prepared)
    return engine


def _give_up_if_not_prepared(context: ExceptionContext) -> None:
    """The driver would ask for the same prepared statement again and again."""
    if is_not_prepared(context.original_exception):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _refuse_lost(connection: DBAPIConnection, *_: object) -> None:
    """Let the pool connect anew if the server has hung up. Without the round trip of a ping:
    an idle connection on which something has arrived is closed, or is about to be."""
    if is_lost(connection.driver_connection):
        raise InvalidatePoolError("the server has closed the connection")


def is_lost(driver: psycopg.AsyncConnection[Any]) -> bool:
    """An idle connection that the server has closed, or says that it will."""
    return driver.closed or _has_arrived(driver.fileno())


def _has_arrived(descriptor: int) -> bool:
    looking = select.poll()
    looking.register(descriptor, select.POLLIN)
    return bool(looking.poll(0))


class _PatientConnection(ImpatientConnection):
    patience = None


def _connection_class(url: URL) -> type[ImpatientConnection]:
    """The server ends a statement after 5 s; who says otherwise is ready to wait."""
    is_patient = "statement_timeout" in str(url.query.get("options", ""))
    return _PatientConnection if is_patient else ImpatientConnection


def _prepare_postgres(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Send arrays in binary: as text, escaping JSON costs more than all else in a save."""
    driver = connection.driver_connection
    driver.adapters.register_dumper(list, ListBinaryDumper)
    arrays.register(driver)


def postgres_arguments(url: URL) -> dict[str, Any]:
    """The driver's arguments: our timeouts, and what the URL says, which wins."""
    _, given = url.get_dialect()().create_connect_args(url)
    options = f"{_POSTGRES_SESSION} {given.get('options', '')}".strip()
    return {**_POSTGRES, **given, "options": options}


def sqlite_engine(url: URL, *, is_durable: bool = True) -> AsyncEngine:
    """Transactions begin IMMEDIATE, or as the execution option `sqlite_begin` says.

    The driver's own way reads before it begins, and two that read and then write lose an
    update without an error. With `sqlite_begin=None` there is no transaction.
    """
    _refuse_missing_folder(url)
    connect_args = {"factory": sqlite.Connection}
    engine = create_async_engine(url, connect_args=connect_args, hide_parameters=True)
    prepare = partial(_prepare_sqlite, _DURABLE if is_durable else _FAST)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _refuse_missing_folder(url: URL) -> None:
    if is_memory(url) or not url.database or url.database.startswith("file:"):
        return
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(
            f"the folder {str(folder)!r} of the SQLite database {url.database!r} does not exist; "
            "create it, or set SAGA_DATABASE_URL to another file"
        )


def _prepare_sqlite(
    pragmas: Iterable[str], connection: DBAPIConnection, _: ConnectionPoolEntry
) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    # The mode belongs to the file. Of several that open a new one, the first sets it, and
    # the others are refused without waiting.
    with suppress(sqlite3.OperationalError):
        cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    if mode is not None:
        connection.exec_driver_sql(f"BEGIN {mode}")
