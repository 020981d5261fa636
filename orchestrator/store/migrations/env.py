"""What Alembic runs for every command: the migrations, on the connection it was handed."""

from alembic import context

from orchestrator.store.revisions import VERSION_TABLE
from orchestrator.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
