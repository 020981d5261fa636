"""Choreographed sagas: every event that was heard, how each saga stands, and replays."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

# Written out, not imported: a migration stays what it was when it ran.
_MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")
_JSON = sa.Text().with_variant(postgresql.JSON(), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_choreographies()
    _create_events()
    _create_replays()
    _index("quiet", "quiet_at", where="quiet_at IS NOT NULL")
    _index("ended", "state", "ended_at", where="ended_at IS NOT NULL")
    _index("open", "last_event_at", where="ended_at IS NULL")
    op.create_index("ix_choreographies_started", "choreographies", ["started_at"])


def _create_choreographies() -> None:
    op.create_table(
        "choreographies",
        sa.Column("saga_id", sa.Text, nullable=False),
        sa.Column("saga_type", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("last_event", sa.Text, nullable=False),
        sa.Column("last_service", sa.Text),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("last_event_at", _MOMENT, nullable=False),
        sa.Column("quiet_after", sa.Integer, nullable=False),
        sa.Column("quiet_at", _MOMENT),
        sa.Column("quiet_since", _MOMENT),
        sa.Column("ended_at", _MOMENT),
        sa.PrimaryKeyConstraint("saga_id", name=op.f("pk_choreographies")),
        sa.CheckConstraint(
            "state IN ('open', 'completed', 'failed')", name=op.f("ck_choreographies_state")
        ),
    )


def _create_events() -> None:
    op.create_table(
        "saga_events",
        sa.Column("id", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("saga_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("service", sa.Text),
        sa.Column("cause", sa.Text),
        sa.Column("ends", sa.Text),
        sa.Column("headers", _JSON, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("times_seen", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saga_events")),
        sa.UniqueConstraint("saga_id", "event_id", name=op.f("uq_saga_events_saga_event")),
    )


def _create_replays() -> None:
    op.create_table(
        "choreography_replays",
        sa.Column("id", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("saga_id", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("sent_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_choreography_replays")),
    )
    where = sa.text("sent_at IS NULL")
    op.create_index(
        "ix_choreography_replays_due",
        "choreography_replays",
        ["id"],
        postgresql_where=where,
        sqlite_where=where,
    )
    op.create_index("ix_choreography_replays_saga", "choreography_replays", ["saga_id"])


def _index(name: str, *columns: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        f"ix_choreographies_{name}",
        "choreographies",
        list(columns),
        postgresql_where=condition,
        sqlite_where=condition,
    )


def downgrade() -> None:
    for table in ("choreography_replays", "saga_events", "choreographies"):
        op.drop_table(table)
