"""Indexes for live rows, room for updates in place, and what was purged."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# Written out, not imported: a migration stays what it was when it ran.
_MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNFINISHED = "state IN ('started', 'pending', 'compensating')"
_UNCLOSED = "status IN ('open', 'replaying')"

# A share of a table of millions is a long wait for the vacuum, and dead entries at the head of
# the index of due sagas are passed over at every look.
_OF_UPDATES = {
    "fillfactor": 50,  # of 1.7 kB a row: two on a page, and room for the next of each
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_analyze_threshold": 1000,
    "autovacuum_analyze_scale_factor": 0.02,
}
_OF_APPENDS = {
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_insert_scale_factor": 0.05,
    "autovacuum_analyze_scale_factor": 0.05,
}
_STORAGE = {
    "sagas": _OF_UPDATES,
    "saga_history": _OF_APPENDS,
    "dead_letters": {"fillfactor": 80, "autovacuum_vacuum_scale_factor": 0.05},
}


def upgrade() -> None:
    op.drop_index("ix_sagas_unfinished", "sagas")
    _index("ix_sagas_open", "sagas", "created_at", where="ended_at IS NULL")
    _index("ix_sagas_idle", "sagas", "saga_type", where="ended_at IS NULL AND wake_at IS NULL")
    _index("ix_sagas_ended", "sagas", "state", "ended_at", where="ended_at IS NOT NULL")
    op.create_index("ix_sagas_type", "sagas", ["saga_type", "created_at"])
    op.drop_index("ix_dead_letters_alert", "dead_letters")
    _index("ix_dead_letters_alert", "dead_letters", "alert_key", where=_UNCLOSED)
    _index("ix_dead_letters_closed", "dead_letters", "closed_at", where="closed_at IS NOT NULL")
    op.create_index("ix_dead_letters_last_seen", "dead_letters", ["last_seen", "id"])
    _index("ix_alerts_unclosed", "alerts", "severity", "key", where="status <> 'closed'")
    _index("ix_alerts_closed", "alerts", "closed_at", where="status = 'closed'")
    _create_purges()
    if _is_postgres():
        for table, settings in _STORAGE.items():
            said = ", ".join(f"{name} = {value}" for name, value in settings.items())
            op.execute(f"ALTER TABLE {table} SET ({said})")


def downgrade() -> None:
    if _is_postgres():
        for table, settings in _STORAGE.items():
            op.execute(f"ALTER TABLE {table} RESET ({', '.join(settings)})")
    op.drop_table("purges")
    for name, table in (
        ("ix_alerts_closed", "alerts"),
        ("ix_alerts_unclosed", "alerts"),
        ("ix_dead_letters_last_seen", "dead_letters"),
        ("ix_dead_letters_closed", "dead_letters"),
        ("ix_dead_letters_alert", "dead_letters"),
        ("ix_sagas_type", "sagas"),
        ("ix_sagas_ended", "sagas"),
        ("ix_sagas_idle", "sagas"),
        ("ix_sagas_open", "sagas"),
    ):
        op.drop_index(name, table)
    op.create_index("ix_dead_letters_alert", "dead_letters", ["alert_key"])
    _index("ix_sagas_unfinished", "sagas", "saga_type", "state", where=_UNFINISHED)


def _is_postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _index(name: str, table: str, *columns: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, list(columns), postgresql_where=condition, sqlite_where=condition)


def _create_purges() -> None:
    op.create_table(
        "purges",
        sa.Column("id", _NUMBER, sa.Identity(always=True), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("before", _MOMENT, nullable=False),
        sa.Column("deleted", sa.BigInteger, nullable=False),
        sa.Column("lines", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purges")),
    )
