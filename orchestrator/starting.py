"""Asking for a saga: what may be asked, and asking within a transaction of the caller's own."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from chassis.tracing import current_traceparent
from messaging.contract import RESERVED_KEYS, SAGA_ID
from messaging.errors import ConfigurationError, Conflict, DefinitionError, ProtocolError
from messaging.limits import check_data
from orchestrator.definition import SagaOrchestrator
from orchestrator.ids import digest_of, new_saga_id
from orchestrator.planning import check_definition, locks_for, plan_for
from orchestrator.saga.start import requested
from orchestrator.store.listener import CHANNEL
from orchestrator.store.rows import SagaRow, row_of
from orchestrator.store.tables import JSON_COLUMNS, sagas

Work = Session | scoped_session[Session] | sa.Connection
AsyncWork = AsyncSession | async_scoped_session[AsyncSession] | AsyncConnection
Definition = type[SagaOrchestrator] | SagaOrchestrator | str

_ASYNC: Final = (AsyncSession, async_scoped_session, AsyncConnection)
_MOMENTS: Final = ("resend_at", "wake_at", "created_at", "updated_at")
_NO_TABLE: Final = "42P01"


def start_in(
    work: Work, definition: Definition, data: Mapping[str, Any], *, saga_id: str | None = None
) -> str:
    """Ask for a saga in the transaction of `work`, and return its id.

    `work` is a Session or Connection on the saga database. A worker begins the saga as soon as
    the transaction is committed; rolled back, nothing has been asked. `definition` is the
    definition's class, so that a mistake in it or a plan that cannot be made raises
    DefinitionError here; or the saga type's name, which only the worker can judge.

    With a `saga_id` of your own it is idempotent: asking again changes nothing. Raises Conflict
    if that id was started with another type or other data, ProtocolError if the data cannot
    cross the network.
    """
    if isinstance(work, _ASYNC):
        raise TypeError(f"start_in got an {type(work).__name__}; await start_in_async(...) instead")
    saga_type = _type_for(definition, data)
    chosen = saga_id or new_saga_id()
    check_request(saga_type, chosen, data)
    connection = work if isinstance(work, sa.Connection) else work.connection()
    digest = digest_of(saga_type, data)
    values = _row(saga_type, chosen, data, digest)._asdict()
    if not _is_stored(connection, values):
        _check_is_the_same(connection, chosen, digest)
    return chosen


async def start_in_async(
    work: AsyncWork, definition: Definition, data: Mapping[str, Any], *, saga_id: str | None = None
) -> str:
    """`start_in` for an AsyncSession or AsyncConnection."""
    if not isinstance(work, _ASYNC):
        raise TypeError(f"start_in_async got a {type(work).__name__}; call start_in(...) instead")
    target = await work.connection() if not isinstance(work, AsyncConnection) else work
    return await target.run_sync(start_in, definition, data, saga_id=saga_id)


def check_request(saga_type: str, saga_id: str, data: Mapping[str, Any]) -> None:
    """Raises ProtocolError for what the network or a saga's commands could not carry."""
    if not saga_type.isidentifier() or len(saga_type) > 100:
        raise ProtocolError("bad_field", f"saga_type is {saga_type!r}; use a definition's name")
    if not SAGA_ID.fullmatch(saga_id):
        raise ProtocolError(
            "bad_field", f"saga_id is {saga_id!r}; use 1 to 200 characters of A-Za-z0-9._:@-"
        )
    reserved = sorted(RESERVED_KEYS & data.keys())
    if reserved:
        raise ProtocolError("reserved_key", f"data may not hold {', '.join(reserved)}; rename it")
    check_data(dict(data))


def started_otherwise(saga_id: str) -> Conflict:
    return Conflict(
        f"saga {saga_id} was started before, with another type or other data; choose another id"
    )


def _type_for(given: Definition, data: Mapping[str, Any]) -> str:
    """The saga type's name. DefinitionError for a definition that cannot start with this data."""
    if isinstance(given, str):
        return given
    definition = given() if isinstance(given, type) else given
    if not isinstance(definition, SagaOrchestrator):
        raise DefinitionError(f"{given!r} is no saga definition; give a SagaOrchestrator subclass")
    check_definition(definition)
    plan_for(definition, data)
    locks_for(definition, data)
    return definition.saga_type


def _row(saga_type: str, saga_id: str, data: Mapping[str, Any], digest: str) -> SagaRow:
    saga = requested(
        saga_id=saga_id,
        saga_type=saga_type,
        data=dict(data),
        input_digest=digest,
        now=datetime.now(UTC),  # where the database has a clock, that one's counts
        traceparent=current_traceparent(),
    )
    return row_of(saga)


def _is_stored(connection: sa.Connection, values: Mapping[str, Any]) -> bool:
    """False if the id is taken: somebody else's transaction with it is waited for."""
    given = {name: _value(name, value) for name, value in values.items() if value is not None}
    match connection.dialect.name:
        case "postgresql":
            statement = _insert_and_tell(given)
        case "sqlite":
            insert = sqlite.insert(sagas).values(given).on_conflict_do_nothing()
            statement = insert.returning(sagas.c.saga_id)
        case other:
            raise ConfigurationError(
                f"the connection is to {other}, and sagas live in PostgreSQL or SQLite;"
                " give start_in a session or connection on the saga database"
            )
    try:
        return connection.execute(statement).first() is not None
    except sa.exc.ProgrammingError as error:
        state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
        if state != _NO_TABLE:
            raise
        raise ConfigurationError(
            f"there is no table sagas in {connection.engine.url.database!r};"
            " give start_in a session on the saga database, or run `saga db upgrade` there"
        ) from error


def _insert_and_tell(given: Mapping[str, Any]) -> sa.Executable:
    """One statement: the row, by the database's clock, and at the commit a word to the workers.

    Not `now()`: the caller's transaction may have begun long ago.
    """
    moments = dict.fromkeys(_MOMENTS, sa.func.clock_timestamp())
    insert = postgresql.insert(sagas).values({**given, **moments}).on_conflict_do_nothing()
    stored = insert.returning(sagas.c.saga_id).cte("stored")
    return sa.select(stored.c.saga_id, sa.func.pg_notify(CHANNEL, ""))


def _value(column: str, value: Any) -> Any:
    """JSON is a text already, and stays as it is written."""
    if column not in JSON_COLUMNS:
        return value
    return sa.cast(sa.literal(value, sa.Text), sagas.c[column].type)


def _check_is_the_same(connection: sa.Connection, saga_id: str, digest: str) -> None:
    known = sa.select(sagas.c.input_digest).where(sagas.c.saga_id == saga_id)
    if connection.scalar(known) != digest:
        raise started_otherwise(saga_id)
