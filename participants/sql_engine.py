"""Engines for the inbox: timeouts for servers that fall silent, real transactions in SQLite."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from chassis import sqlite
from chassis.urls import checked_database_url, masked
from messaging.errors import ConfigurationError
from participants.postgres_dialect import DRIVER, PatientConnection

# A server that does not answer must not hold a participant: the kernel gives up after 10 s.
_POSTGRES: Final[dict[str, Any]] = {
    "application_name": "countermand-participant",
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
# A frozen process keeps its connections open, and would keep its claims from others for ever.
# No handler should hold one for longer than a step waits by default; `options` in the URL win.
_POSTGRES_SESSION: Final = "-c idle_in_transaction_session_timeout=5min"
_POOL_WAIT: Final = 30.0
# FULL: a commit that has been answered survives a power cut.
_PRAGMAS: Final = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


def engine_for(url: str, connections: int) -> AsyncEngine:
    """An engine with at most so many connections. Raises ConfigurationError for a bad URL."""
    try:
        checked = make_url(checked_database_url(url))
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            f"SAGA_INBOX_URL {masked(url)!r} {error}; for example"
            " postgresql://user:password@host/database or sqlite:///inbox.sqlite"
        ) from None
    if checked.get_backend_name() == "sqlite":
        return _sqlite_engine(str(checked.database))
    _, given = checked.get_dialect()().create_connect_args(checked)
    return create_async_engine(
        f"{DRIVER}://",
        connect_args={
            **_POSTGRES,
            **given,
            "options": _options(given),
            "async_creator_fn": PatientConnection.connect,
        },
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        max_overflow=0,
        pool_recycle=1800,
        pool_size=connections,
        pool_timeout=_POOL_WAIT,
    )


def _options(given: Mapping[str, Any]) -> str:
    return f"{_POSTGRES_SESSION} {given.get('options', '')}".strip()


def is_sqlite(engine: AsyncEngine) -> bool:
    return engine.dialect.name == "sqlite"


def reading(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, for transactions that only read: SQLite's writer does not stop them."""
    return engine.execution_options(sqlite_begin="DEFERRED")


def _sqlite_engine(file: str) -> AsyncEngine:
    folder = Path(file).absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(
            f"the folder {str(folder)!r} of SAGA_INBOX_URL's SQLite database does not exist;"
            " create it, or set SAGA_INBOX_URL to another file"
        )
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{file}",
        connect_args={"factory": sqlite.Connection},
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # else the driver begins too late, and two lose an update
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")
