"""The tables of choreographed sagas: every event that was heard, and how each saga stands."""

from typing import Final

import sqlalchemy as sa

from orchestrator.store.tables import Json, Moment, Number, metadata

STATES: Final = ("open", "completed", "failed")

# One row for each saga; what stands in it follows from its events.
choreographies = sa.Table(
    "choreographies",
    metadata,
    sa.Column("saga_id", sa.Text, primary_key=True),
    sa.Column("saga_type", sa.Text, nullable=False),
    sa.Column("correlation_id", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("last_event", sa.Text, nullable=False),
    sa.Column("last_service", sa.Text),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("last_event_at", Moment, nullable=False),
    sa.Column("quiet_after", sa.Integer, nullable=False),  # seconds
    sa.Column("quiet_at", Moment),  # when somebody is to be told; NULL: ended, or told
    sa.Column("quiet_since", Moment),  # told: the last event before that
    sa.Column("ended_at", Moment),
    sa.CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="state"),
)

# Append-only, but for the count of repetitions: each event once, exactly as it came first.
saga_events = sa.Table(
    "saga_events",
    metadata,
    sa.Column("id", Number, sa.Identity(always=True), primary_key=True),
    sa.Column("saga_id", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("service", sa.Text),
    sa.Column("cause", sa.Text),  # the event that caused it
    sa.Column("ends", sa.Text),
    sa.Column("headers", Json, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("at", Moment, nullable=False),  # when it was recorded
    sa.Column("times_seen", sa.Integer, nullable=False),
    sa.UniqueConstraint("saga_id", "event_id", name="saga_event"),
)

# Append-only: what people asked to have sent again, and when it was.
choreography_replays = sa.Table(
    "choreography_replays",
    metadata,
    sa.Column("id", Number, sa.Identity(always=True), primary_key=True),
    sa.Column("saga_id", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("sent_at", Moment),
)


def _partial_index(name: str, condition: str, *columns: sa.Column[object]) -> None:
    where = sa.text(condition)
    sa.Index(name, *columns, postgresql_where=where, sqlite_where=where)


_partial_index("ix_choreographies_quiet", "quiet_at IS NOT NULL", choreographies.c.quiet_at)
_partial_index(
    "ix_choreographies_ended",
    "ended_at IS NOT NULL",
    choreographies.c.state,
    choreographies.c.ended_at,
)
_partial_index("ix_choreographies_open", "ended_at IS NULL", choreographies.c.last_event_at)
sa.Index("ix_choreographies_started", choreographies.c.started_at)
_partial_index("ix_choreography_replays_due", "sent_at IS NULL", choreography_replays.c.id)
sa.Index("ix_choreography_replays_saga", choreography_replays.c.saga_id)
