"""The table of a service's log of events, in the service's own database."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    inspect,
    text,
)
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from participants.choreography.rules import Kind, State

metadata: Final = MetaData()

_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _one_of(column: str, words: type[Kind] | type[State]) -> str:
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


saga_log: Final = Table(
    "saga_log",
    metadata,
    Column("id", _NUMBER, Identity(always=True), primary_key=True),
    Column("service", String(100), nullable=False),
    Column("saga_id", String(200), nullable=False),
    Column("event_id", String(200), nullable=False),
    Column("event", String(100), nullable=False),
    Column("saga_type", String(100), nullable=False),
    Column("emitted_by", String(200)),
    Column("cause", String(200)),  # the event that caused this one; NULL: it began the saga
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("undoes", String(100)),
    Column("result", _JSON),
    Column("payload", LargeBinary, nullable=False),
    Column("emitted", Text),  # exactly as published: bodies and headers
    Column("owed_at", DateTime(timezone=True)),  # NULL: all of it is with the broker
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("service", "saga_id", "event_id", name="saga_log_event"),
    CheckConstraint(_one_of("kind", Kind), name="saga_log_kind"),
    CheckConstraint(_one_of("state", State), name="saga_log_state"),
    Index("saga_log_updated_at", "updated_at"),
    Index(
        "saga_log_owed",
        "owed_at",
        postgresql_where=text("owed_at IS NOT NULL"),
        sqlite_where=text("owed_at IS NOT NULL"),
    ),
)


async def create_missing(connection: AsyncConnection) -> None:
    """The table, where it is missing."""
    await connection.run_sync(_create_missing)


def _create_missing(connection: SyncConnection) -> None:
    """Looks first: the role may lack the right to create what is there already."""
    if not inspect(connection).has_table(saga_log.name):
        metadata.create_all(connection)
