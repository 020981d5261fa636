"""Dead letters, what was done about them, and alerts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

# Written out, not imported: a migration stays what it was when it ran.
_MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")
_JSON = sa.Text().with_variant(postgresql.JSON(), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_dead_letters()
    _create_dead_letter_indexes()
    _create_actions()
    _create_alerts()
    _create_alert_deliveries()


def _number(table: str) -> list[sa.Column[int] | sa.Constraint]:
    return [
        sa.Column("id", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def _create_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        *_number("dead_letters"),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("arrival", sa.Text),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("queue", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("saga_id", sa.Text),
        sa.Column("saga_type", sa.Text),
        sa.Column("step_name", sa.Text),
        sa.Column("direction", sa.Text),
        sa.Column("destination", sa.Text),
        sa.Column("attempt", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("routing_key", sa.Text, nullable=False),
        sa.Column("type", sa.Text),
        sa.Column("message_id", sa.Text),
        sa.Column("headers", _JSON, nullable=False),
        sa.Column("properties", _JSON, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("body_bytes", sa.BigInteger, nullable=False),
        *_dead_letter_progress(),
        sa.UniqueConstraint("key", name=op.f("uq_dead_letters_key")),
        sa.CheckConstraint(
            "status IN ('open', 'replaying', 'resolved', 'discarded', 'superseded')",
            name=op.f("ck_dead_letters_status"),
        ),
    )


def _dead_letter_progress() -> list[sa.Column[object]]:
    return [
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("times_seen", sa.Integer, nullable=False),
        sa.Column("first_seen", _MOMENT, nullable=False),
        sa.Column("last_seen", _MOMENT, nullable=False),
        sa.Column("replays", sa.Integer, nullable=False),
        sa.Column("last_replay_at", _MOMENT),
        sa.Column("next_replay_at", _MOMENT),
        sa.Column("saga_version", sa.BigInteger),
        sa.Column("send_requested", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("alert_key", sa.Text),
        sa.Column("closed_at", _MOMENT),
        sa.Column("closed_by", sa.Text),
        sa.Column("closed_reason", sa.Text),
    ]


def _create_dead_letter_indexes() -> None:
    unclosed = sa.text("status IN ('open', 'replaying')")
    op.create_index(
        "ix_dead_letters_due",
        "dead_letters",
        ["next_replay_at"],
        postgresql_where=unclosed,
        sqlite_where=unclosed,
    )
    op.create_index("ix_dead_letters_saga", "dead_letters", ["saga_id"])
    op.create_index("ix_dead_letters_signature", "dead_letters", ["signature"])
    op.create_index("ix_dead_letters_alert", "dead_letters", ["alert_key"])


def _create_actions() -> None:
    op.create_table(
        "dead_letter_actions",
        *_number("dead_letter_actions"),
        sa.Column("letter_id", sa.BigInteger, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_index("ix_dead_letter_actions_letter", "dead_letter_actions", ["letter_id"])


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        *_number("alerts"),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("letter_id", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("times_sent", sa.Integer, nullable=False),
        sa.Column("last_sent_at", _MOMENT),
        sa.Column("next_send_at", _MOMENT),
        sa.Column("acknowledged_at", _MOMENT),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("closed_at", _MOMENT),
        sa.UniqueConstraint("key", name=op.f("uq_alerts_key")),
        sa.CheckConstraint(
            "status IN ('open', 'acknowledged', 'closed')", name=op.f("ck_alerts_status")
        ),
        sa.CheckConstraint("severity IN ('critical', 'warning')", name=op.f("ck_alerts_severity")),
    )
    _create_due_index("ix_alerts_due", "alerts", "next_send_at")


def _create_alert_deliveries() -> None:
    op.create_table(
        "alert_deliveries",
        *_number("alert_deliveries"),
        sa.Column("alert_id", sa.BigInteger, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("sink", sa.Text, nullable=False),
        sa.Column("is_resolved", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("ok", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("begun_at", _MOMENT, nullable=False),
        sa.Column("due_at", _MOMENT),
        sa.Column("sent_at", _MOMENT),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint(
            "alert_id", "round", "sink", name=op.f("uq_alert_deliveries_alert_round_sink")
        ),
    )
    _create_due_index("ix_alert_deliveries_due", "alert_deliveries", "sink", "due_at")


def _create_due_index(name: str, table: str, *columns: str) -> None:
    """Of the rows for which a moment is set in the last of `columns`."""
    where = sa.text(f"{columns[-1]} IS NOT NULL")
    op.create_index(name, table, list(columns), postgresql_where=where, sqlite_where=where)
