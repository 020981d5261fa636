"""Database errors, sorted by who can act, and translated at the store's edge."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy import exc

from messaging.errors import ConfigurationError, SagaError, Unavailable


class StatementRejected(SagaError):
    """The caller can act: the database will never take, or give back, these values."""


class Busy(Unavailable):
    """Nobody can act: the database is there, but rows are locked or it was too much at once.

    Less at a time may get through.
    """


# Lock not available, statement timeout, deadlock, serialization failure.
_BUSY: Final = frozenset({"55P03", "57014", "40P01", "40001"})
# Everything else is waited for. Class 42 without its schema and permission errors: those
# are the installation's fault, and to blame a message for them would dead-letter them all.
_NEVER_CLASSES: Final = frozenset({"21", "22", "23", "42", "54"})
# What the driver has prepared is not there, or is another's, or its table was changed: nothing
# is wrong with the values. A pooler has given this connection another one of the server's.
_NOT_PREPARED: Final = frozenset({"26000", "42P05", "0A000"})
_INSTALLATION: Final = frozenset({"42501", "42P01", "42703", "42704", "42883", "3F000"})
_REMEDY: Final = "; if the schema is missing or old, run `saga db upgrade`"
_SESSIONS: Final = "; if SAGA_DATABASE_URL leads through a pooler, have it pool sessions"

_SQLITE_NEVER: Final = frozenset(
    {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
)

_DATABASE: Final = (exc.SQLAlchemyError, psycopg.Error, sqlite3.Error, OSError)
_VALUES: Final = (ValueError, TypeError, OverflowError, RecursionError)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what drivers raise into Unavailable or StatementRejected; the rest passes."""
    try:
        yield
    except (*_DATABASE, *_VALUES) as error:
        raise sorted_error(error) from error


def sorted_error(error: BaseException) -> BaseException:
    """The error to raise instead of `error`; itself if it is none of a database's."""
    match error:
        case exc.DBAPIError(connection_invalidated=True):
            return Unavailable(f"the connection to the database is lost: {_text(error.orig)}")
        case exc.StatementError(orig=BaseException() as cause):
            return sorted_error(cause)
        case psycopg.Error():
            return _from_postgres(error)
        case sqlite3.Error():
            return _from_sqlite(error)
        case OSError() | exc.TimeoutError() | exc.PendingRollbackError():
            return Unavailable(f"the database is out of reach: {_text(error)}")
        case ValueError() | TypeError() | OverflowError() | RecursionError():
            return StatementRejected(f"a value that no database takes: {_text(error)}")
        case _:
            return error


def is_not_prepared(error: BaseException) -> bool:
    """The connection is not what its driver takes it for: another one may serve."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _NOT_PREPARED


def _from_postgres(error: psycopg.Error) -> SagaError:
    state = error.sqlstate
    if state is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return Unavailable(f"the database is out of reach: {_text(error)}")
        return StatementRejected(f"the database cannot take it: {_text(error)}")
    # Only the primary message: detail and context may quote a payload.
    told = f"{error.diag.message_primary or type(error).__name__} (SQLSTATE {state})"
    if is_not_prepared(error):
        return Unavailable(f"the database cannot serve us: {told}{_SESSIONS}")
    if state in _INSTALLATION:
        return Unavailable(f"the database cannot serve us: {told}{_REMEDY}")
    if state[:2] in _NEVER_CLASSES:
        return StatementRejected(f"the database rejected it: {told}")
    if state in _BUSY:
        return Busy(f"the database does not get to it: {told}")
    return Unavailable(f"the database cannot serve us now: {told}")


def _from_sqlite(error: sqlite3.Error) -> SagaError:
    code = getattr(error, "sqlite_errorcode", None)
    told = f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
    if code is None:
        if isinstance(error, sqlite3.OperationalError):
            return Unavailable(f"the database is out of reach: {told}")
        return StatementRejected(f"the database cannot take it: {told}")
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_NOTADB:
        return ConfigurationError(
            f"{told}; set SAGA_DATABASE_URL to a SQLite database or a new file"
        )
    if primary in _SQLITE_NEVER:
        return StatementRejected(f"the database rejected it: {told}")
    remedy = _REMEDY if primary == sqlite3.SQLITE_ERROR else ""
    return Unavailable(f"the database cannot serve us now: {told}{remedy}")


def _text(error: BaseException | None) -> str:
    """One line, and for encoding errors not the text that could not be encoded."""
    if isinstance(error, UnicodeError):
        return f"{type(error).__name__}: {getattr(error, 'reason', '')}"
    return " ".join(str(error).split()) or type(error).__name__
