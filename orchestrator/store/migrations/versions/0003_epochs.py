"""In which epochs of the database a saga is known to have lived."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("sagas", sa.Column("epochs", sa.Text))  # NULL: from before; it is believed
