"""Sagas and their history."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

# Written out, not imported: a migration stays what it was when it ran.
_MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")
_JSON = sa.Text().with_variant(postgresql.JSON(), "postgresql")


def upgrade() -> None:
    _create_sagas()
    _create_indexes()
    _create_history()


def _create_sagas() -> None:
    op.create_table(
        "sagas",
        sa.Column("saga_id", sa.Text, nullable=False),
        sa.Column("saga_type", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("input_digest", sa.Text, nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.Column("plan", _JSON),
        sa.Column("steps", _JSON, nullable=False),
        sa.Column("on_exhausted", sa.Text, nullable=False),
        sa.Column("cancel_reason", sa.Text),
        sa.Column("first_failure", _JSON),
        sa.Column("outbound", _JSON),
        sa.Column("resend_at", _MOMENT),
        sa.Column("wake_at", _MOMENT),
        sa.Column("traceparent", sa.Text),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("updated_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.PrimaryKeyConstraint("saga_id", name="pk_sagas"),
        sa.CheckConstraint("length(saga_id) BETWEEN 1 AND 200", name=op.f("ck_sagas_saga_id")),
        sa.CheckConstraint(
            "state IN ('started', 'pending', 'compensating', 'completed', 'failed')",
            name=op.f("ck_sagas_state"),
        ),
        sa.CheckConstraint(
            "on_exhausted IN ('halt', 'continue')", name=op.f("ck_sagas_on_exhausted")
        ),
        sa.CheckConstraint("version >= 0", name=op.f("ck_sagas_version")),
    )


def _create_indexes() -> None:
    _create_partial_index("due", "wake_at IS NOT NULL", "wake_at")
    unfinished = "state IN ('started', 'pending', 'compensating')"
    _create_partial_index("unfinished", unfinished, "saga_type", "state")
    _create_partial_index("failed", "state = 'failed'", "created_at")
    op.create_index("ix_sagas_created_at", "sagas", ["created_at"])


def _create_partial_index(name: str, condition: str, *columns: str) -> None:
    where = sa.text(condition)
    op.create_index(
        f"ix_sagas_{name}", "sagas", list(columns), postgresql_where=where, sqlite_where=where
    )


def _create_history() -> None:
    op.create_table(
        "saga_history",
        sa.Column("saga_id", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("cause", sa.Text),
        sa.Column("actor", sa.Text),
        sa.Column("attempt", sa.Integer),
        sa.Column("note", sa.Text),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("saga_id", "version", name="pk_saga_history"),
    )
