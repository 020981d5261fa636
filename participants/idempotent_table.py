"""The table of idempotent steps: what each has come to, and until when that is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Index,
    MetaData,
    String,
    Table,
    Text,
    and_,
    delete,
    exc,
    func,
    inspect,
    literal,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.sql.elements import ColumnElement

from messaging.errors import ConfigurationError, Conflict

metadata: Final = MetaData()
idempotent_steps: Final = Table(
    "saga_idempotent_steps",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("key", String(500), primary_key=True),
    Column("result", Text),  # JSON; the caller's engine shall not parse it in a way of its own
    Column("error", Text),  # of a step that has failed
    Column("done_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),  # NULL: never
    Index("saga_idempotent_steps_expires_at", "expires_at"),
)
_steps: Final = idempotent_steps.c

_INSERTS: Final[dict[str, Callable[[Table], Any]]] = {
    "postgresql": postgres_insert,
    "sqlite": sqlite_insert,
}
_CREATING: Final = 0x5A6A_1B0D  # advisory lock of Postgres while the table is created
_DELETED_AT_A_TIME: Final = 1000
_IN_USE: Final = ("database is locked", "database table is locked")


class StepBusy(Conflict):
    """The same step is under way in another transaction."""


class Which(NamedTuple):
    """One step, once."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"{self.name!r} with key {self.key!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a step has come to: a result as JSON, or an error."""

    result: str | None = None
    error: str | None = None


def prepare_steps(connection: Connection) -> None:
    """Create the table if it is missing; looks first, as the role may lack the right to."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATING})
    if not inspect(connection).has_table(idempotent_steps.name):
        metadata.create_all(connection)


def purge_steps(connection: Connection, limit: int = _DELETED_AT_A_TIME) -> int:
    """Delete what has expired, at most `limit` rows; how many."""
    old = (
        select(_steps.name, _steps.key)
        .where(_steps.expires_at <= _now(connection))
        .order_by(_steps.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = delete(idempotent_steps).where(tuple_(_steps.name, _steps.key).in_(old))
    return connection.execute(statement).rowcount


def hold(connection: Connection, which: Which, *, waits: bool) -> Done | None:
    """Keep others from this step until the transaction ends; what it has come to, if anything.

    Raises StepBusy if somebody is at it; with `waits`, only where a lock is not waited for any
    longer.
    """
    _check(connection)
    is_it = and_(_steps.name == which.name, _steps.key == which.key)
    now = _now(connection)
    try:
        if connection.dialect.name == "postgresql":
            _hold_in_postgres(connection, which, waits=waits)
        else:  # a write, so that the file's single writer is ours, and nobody gets in between
            connection.execute(delete(idempotent_steps).where(is_it, _steps.expires_at <= now))
        is_valid = or_(_steps.expires_at.is_(None), _steps.expires_at > now)
        look = select(_steps.result, _steps.error).where(is_it, is_valid)
        row = connection.execute(look).one_or_none()
    except exc.DBAPIError as error:
        _raise_translated(connection, which, error)
        raise
    return Done(result=row.result, error=row.error) if row is not None else None


def keep(connection: Connection, which: Which, done: Done, ttl: timedelta | None) -> None:
    """Store what it has come to. Raises Conflict if somebody else has, after all."""
    now = _now(connection)
    values: dict[str, Any] = {
        "result": done.result,
        "error": done.error,
        "done_at": now,
        "expires_at": None if ttl is None else _now(connection, ttl),
    }
    statement = (
        _INSERTS[connection.dialect.name](idempotent_steps)
        .values(name=which.name, key=which.key, **values)
        .on_conflict_do_update(
            index_elements=[_steps.name, _steps.key], set_=values, where=_steps.expires_at <= now
        )
        .returning(_steps.key)
    )
    if connection.execute(statement).first() is None:
        raise Conflict(f"the step {which} has been done meanwhile: roll back, and call it again")


def _now(connection: Connection, later: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """The database's clock; SQLite shares the machine's. Not `now()`: the caller's transaction
    may have begun long ago."""
    if connection.dialect.name == "postgresql":
        return func.clock_timestamp() + literal(later)
    return literal(datetime.now(UTC) + later)


def _hold_in_postgres(connection: Connection, which: Which, *, waits: bool) -> None:
    """By the transaction's advisory lock: there may be no row yet."""
    key = func.hashtextextended(f"{which.name} {which.key}", 0)
    if waits:
        connection.execute(select(func.pg_advisory_xact_lock(key)))
    elif not connection.scalar(select(func.pg_try_advisory_xact_lock(key))):
        raise _busy(which)


def _check(connection: Connection) -> None:
    kind = connection.dialect.name
    if kind not in _INSERTS:
        raise ConfigurationError(f"idempotent steps work in PostgreSQL and SQLite, not in {kind}")
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        raise ConfigurationError(
            "the connection commits every statement by itself; an idempotent step needs a"
            " transaction, so leave isolation_level='AUTOCOMMIT' out"
        )


def _busy(which: Which) -> StepBusy:
    return StepBusy(f"the step {which} is under way elsewhere: roll back, and call it again later")


def _raise_translated(connection: Connection, which: Which, error: exc.DBAPIError) -> None:
    said = str(error.orig)
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if state == "55P03" or said in _IN_USE:
        raise _busy(which) from error
    if state == "42P01" or said.startswith("no such table"):
        raise ConfigurationError(
            f"there is no table {idempotent_steps.name} in {connection.engine.url.database!r};"
            " create it once with participants.idempotent_table.prepare_steps(connection)"
        ) from error
