"""Semantic locks."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# Written out, not imported: a migration stays what it was when it ran.
_MOMENT = sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    op.create_table(
        "saga_locks",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("saga_id", sa.Text, nullable=False),
        sa.Column("saga_type", sa.Text, nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("asked_at", _MOMENT, nullable=False),
        sa.Column("held_at", _MOMENT),
        sa.PrimaryKeyConstraint("name", "saga_id", name=op.f("pk_saga_locks")),
    )
    held = sa.text("held_at IS NOT NULL")
    op.create_index(
        "ix_saga_locks_holder",
        "saga_locks",
        ["name"],
        unique=True,
        postgresql_where=held,
        sqlite_where=held,
    )
    op.create_index("ix_saga_locks_saga", "saga_locks", ["saga_id"])
    if op.get_bind().dialect.name == "postgresql":  # few live rows, many that come and go
        op.execute("ALTER TABLE saga_locks SET (autovacuum_vacuum_scale_factor = 0.02)")


def downgrade() -> None:
    op.drop_table("saga_locks")
