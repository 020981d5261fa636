"""The tables of the orchestrator, the same on Postgres and SQLite."""

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.state import SagaState

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(constraint_name)s",
    }
)


class _SqliteMoment(sa.TypeDecorator[datetime]):
    """UTC with microseconds, always of the same width, so that text order is time order."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        if value is None:
            return None
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


Moment: Final = sa.DateTime(timezone=True).with_variant(_SqliteMoment(), "sqlite")
# `json` keeps its text byte for byte. `jsonb` turns the float 1e22 into 23 digits, an integer
# that our own limits refuse, and forgets the order of keys. `->>` works on both.
Json: Final = sa.Text().with_variant(postgresql.JSON(), "postgresql")
# SQLite numbers its rows by itself only with this very type.
Number: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _one_of(column: str, words: type[SagaState | OnExhausted]) -> str:
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


sagas = sa.Table(
    "sagas",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("saga_type", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("input_digest", sa.Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("plan", Json),  # NULL until planned, and never changed afterwards
    sa.Column("steps", Json, nullable=False),
    sa.Column("on_exhausted", sa.Text, nullable=False),
    sa.Column("cancel_reason", sa.Text),
    sa.Column("first_failure", Json),
    sa.Column("outbound", Json),
    sa.Column("resend_at", Moment),
    sa.Column("wake_at", Moment),  # for the index: when to look, or on Postgres rather before
    sa.Column("traceparent", sa.Text),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
    sa.Column("epochs", sa.Text),  # of the database, with a space between; NULL: not known
    sa.CheckConstraint("length(saga_id) BETWEEN 1 AND 200", name="saga_id"),
    sa.CheckConstraint(_one_of("state", SagaState), name="state"),
    sa.CheckConstraint(_one_of("on_exhausted", OnExhausted), name="on_exhausted"),
    sa.CheckConstraint("version >= 0", name="version"),
)


def _partial_index(name: str, condition: str, *columns: str) -> None:
    where = sa.text(condition)
    sa.Index(
        f"ix_sagas_{name}",
        *(sagas.c[column] for column in columns),
        postgresql_where=where,
        sqlite_where=where,
    )


# An update that changes a column that stands in any index, or in its condition, touches every
# index: no column that changes at each step may stand in one. See docs/adr/0014.
_partial_index("due", "wake_at IS NOT NULL", "wake_at")
_partial_index("open", "ended_at IS NULL", "created_at")
_partial_index("idle", "ended_at IS NULL AND wake_at IS NULL", "saga_type")
_partial_index("failed", "state = 'failed'", "created_at")
_partial_index("ended", "ended_at IS NOT NULL", "state", "ended_at")
sa.Index("ix_sagas_created_at", sagas.c.created_at)
sa.Index("ix_sagas_type", sagas.c.saga_type, sagas.c.created_at)

# Append-only. No foreign key: its check would cost as much as the insert, and the same
# transaction has just written, or locked, the saga.
saga_history = sa.Table(
    "saga_history",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("step", sa.Text),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("cause", sa.Text),
    sa.Column("actor", sa.Text),
    sa.Column("attempt", sa.Integer),
    sa.Column("note", sa.Text),
    sa.Column("error", sa.Text),
)

# Append-only: what was deleted, by whom and why, counted in the transactions that deleted it.
purges = sa.Table(
    "purges",
    metadata,
    sa.Column("id", Number, sa.Identity(always=True), primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("before", Moment, nullable=False),  # what had ended by then
    sa.Column("deleted", sa.BigInteger, nullable=False),
    sa.Column("lines", sa.BigInteger, nullable=False),  # of history, or the like, with them
)

# Semantic locks: a line for each name that a saga wants or holds, gone when the saga has ended.
# Written only by who has the saga's row locked, but for what is cleared away.
saga_locks = sa.Table(
    "saga_locks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("saga_type", sa.Text, nullable=False),
    sa.Column("place", sa.BigInteger, nullable=False),  # in line, microseconds since 1970
    sa.Column("asked_at", Moment, nullable=False),
    sa.Column("held_at", Moment),  # NULL while it waits
)
_HELD: Final = sa.text("held_at IS NOT NULL")
# Whatever else goes wrong: nothing is ever held by two.
sa.Index(
    "ix_saga_locks_holder",
    saga_locks.c.name,
    unique=True,
    postgresql_where=_HELD,
    sqlite_where=_HELD,
)
sa.Index("ix_saga_locks_saga", saga_locks.c.saga_id)

JSON_COLUMNS: Final = frozenset({"data", "plan", "steps", "first_failure", "outbound"})
IDENTITY: Final = frozenset({"saga_id", "saga_type", "input_digest", "created_at"})  # never saved
KEPT_IF_NULL: Final = frozenset({"data", "plan"})  # saving NULL leaves them as they are
