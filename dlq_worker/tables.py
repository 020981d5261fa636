"""The tables of the dead letters, beside those of the sagas in one database."""

from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from dlq_worker.statuses import AlertStatus, Severity, Status
from orchestrator.store.tables import Json, Moment, Number, metadata


def _one_of(column: str, words: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", Number, sa.Identity(always=True), primary_key=True),
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
    sa.Column("headers", Json, nullable=False),
    sa.Column("properties", Json, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("body_bytes", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("times_seen", sa.Integer, nullable=False),
    sa.Column("first_seen", Moment, nullable=False),
    sa.Column("last_seen", Moment, nullable=False),
    sa.Column("replays", sa.Integer, nullable=False),
    sa.Column("last_replay_at", Moment),
    sa.Column("next_replay_at", Moment),  # when the worker looks at it again
    sa.Column("saga_version", sa.BigInteger),  # of the last look; NULL: not followed
    sa.Column("send_requested", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("alert_key", sa.Text),
    sa.Column("closed_at", Moment),
    sa.Column("closed_by", sa.Text),
    sa.Column("closed_reason", sa.Text),
    sa.UniqueConstraint("key", name="key"),
    sa.CheckConstraint(_one_of("status", Status), name="status"),
)


def _partial_index(name: str, condition: str, *columns: sa.Column[Any]) -> None:
    where = sa.text(condition)
    sa.Index(name, *columns, postgresql_where=where, sqlite_where=where)


_UNCLOSED: Final = "status IN ('open', 'replaying')"
_partial_index("ix_dead_letters_due", _UNCLOSED, dead_letters.c.next_replay_at)
_partial_index("ix_dead_letters_alert", _UNCLOSED, dead_letters.c.alert_key)
_partial_index("ix_dead_letters_closed", "closed_at IS NOT NULL", dead_letters.c.closed_at)
sa.Index("ix_dead_letters_saga", dead_letters.c.saga_id)
sa.Index("ix_dead_letters_signature", dead_letters.c.signature)
sa.Index("ix_dead_letters_last_seen", dead_letters.c.last_seen, dead_letters.c.id)

# Append-only: everything that was done about a letter, by the worker or by a person.
dead_letter_actions = sa.Table(
    "dead_letter_actions",
    metadata,
    sa.Column("id", Number, sa.Identity(always=True), primary_key=True),
    sa.Column("letter_id", sa.BigInteger, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
)
sa.Index("ix_dead_letter_actions_letter", dead_letter_actions.c.letter_id)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", Number, sa.Identity(always=True), primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("letter_id", sa.BigInteger, nullable=False),  # the latest one it is about
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("times_sent", sa.Integer, nullable=False),  # rounds begun
    sa.Column("last_sent_at", Moment),
    sa.Column("next_send_at", Moment),  # when the next round begins
    sa.Column("acknowledged_at", Moment),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("closed_at", Moment),
    sa.UniqueConstraint("key", name="key"),
    sa.CheckConstraint(_one_of("status", AlertStatus), name="status"),
    sa.CheckConstraint(_one_of("severity", Severity), name="severity"),
)
_partial_index("ix_alerts_due", "next_send_at IS NOT NULL", alerts.c.next_send_at)
_partial_index("ix_alerts_unclosed", "status <> 'closed'", alerts.c.severity, alerts.c.key)
_partial_index("ix_alerts_closed", "status = 'closed'", alerts.c.closed_at)

# One row for each alert, round and sink: never twice for the same thing.
alert_deliveries = sa.Table(
    "alert_deliveries",
    metadata,
    sa.Column("id", Number, sa.Identity(always=True), primary_key=True),
    sa.Column("alert_id", sa.BigInteger, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("sink", sa.Text, nullable=False),
    sa.Column("is_resolved", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("ok", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("due_at", Moment),  # NULL: settled
    sa.Column("sent_at", Moment),
    sa.Column("error", sa.Text),
    sa.UniqueConstraint("alert_id", "round", "sink", name="alert_round_sink"),
)
_partial_index(
    "ix_alert_deliveries_due",
    "due_at IS NOT NULL",
    alert_deliveries.c.sink,
    alert_deliveries.c.due_at,
)

# Written out, not bound: a plan for any parameters must see that the partial indexes fit.
IS_UNCLOSED: Final = dead_letters.c.status.in_(
    [sa.literal_column(repr(status.value)) for status in (Status.OPEN, Status.REPLAYING)]
)
IS_ALERTED: Final = alerts.c.status != sa.literal_column(repr(AlertStatus.CLOSED.value))
