"""Database errors at the inbox's edge: which mean that the database is away."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy import exc

from messaging.errors import Conflict, Unavailable

# Lost or refused connections, exhausted servers, fail-over to a read-only copy, a shutdown.
_AWAY_CLASSES: Final = frozenset({"08", "53", "58"})
_AWAY_STATES: Final = frozenset({"25006", "57P01", "57P02", "57P03", "57P04", "57P05"})
_IN_THE_WAY: Final = frozenset({"40001", "40P01", "55P03"})  # of somebody else's locks
_SQLITE_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


@contextmanager
def translated() -> Iterator[None]:
    """For the inbox's own statements: if they fail, whatever the reason, nothing can be
    promised until it is mended, and Unavailable says so."""
    try:
        yield
    except (exc.SQLAlchemyError, psycopg.Error, sqlite3.Error, OSError) as error:
        raise _unavailable(error) from error


@contextmanager
def as_unavailable() -> Iterator[None]:
    """For the handler's statements and the commit: only if the database is away."""
    try:
        yield
    except (exc.SQLAlchemyError, psycopg.Error, sqlite3.Error) as error:
        if is_away(error):
            raise _unavailable(error) from error
        raise


@contextmanager
def as_conflict() -> Iterator[None]:
    """For statements about many steps at once: somebody else holds one of them."""
    try:
        yield
    except (exc.DBAPIError, psycopg.Error) as error:
        if getattr(getattr(error, "orig", error), "sqlstate", None) in _IN_THE_WAY:
            raise Conflict("somebody else is at one of these steps") from error
        raise


def is_away(error: BaseException) -> bool:
    """True if waiting helps, and no fault lies with the statement."""
    match error:
        case exc.DBAPIError(connection_invalidated=True) | exc.TimeoutError():
            return True
        case exc.DBAPIError(orig=BaseException() as cause):
            return is_away(cause)
        case psycopg.Error(sqlstate=str() as state):
            return state[:2] in _AWAY_CLASSES or state in _AWAY_STATES
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return True
        case sqlite3.Error():
            code = getattr(error, "sqlite_errorcode", None)
            return code is not None and code & 0xFF in _SQLITE_AWAY
        case _:
            return False


def _unavailable(error: BaseException) -> Unavailable:
    """Only the primary message: the rest may quote a payload."""
    cause = getattr(error, "orig", None) or error
    primary = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    told = primary or " ".join(str(cause).split()) or type(cause).__name__
    return Unavailable(f"the inbox cannot be used now: {told}")
