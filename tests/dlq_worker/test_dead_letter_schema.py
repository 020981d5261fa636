"""The migration makes what the tables say."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from dlq_worker.tables import alert_deliveries, alerts, dead_letter_actions, dead_letters
from orchestrator.store.engines import database_url_of, engine_for
from orchestrator.store.migrations import upgrade
from orchestrator.store.revisions import VERSION_TABLE
from orchestrator.store.tables import metadata

pytest_plugins = ["conformance.store_fixtures"]

OURS = (dead_letters, dead_letter_actions, alerts, alert_deliveries)


def _differences(connection: Connection) -> list[object]:
    """Of the whole database, and all tables of both packages."""
    options = {"version_table": VERSION_TABLE, "compare_type": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def _checks(connection: Connection) -> set[str | None]:
    inspector = inspect(connection)
    return {
        check["name"] for table in OURS for check in inspector.get_check_constraints(table.name)
    }


async def test_the_migrations_make_what_the_tables_say(database_url: str) -> None:
    await upgrade(database_url)
    engine = engine_for(database_url_of(database_url))
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
        declared = {
            str(each.name)
            for table in OURS
            for each in table.constraints
            if "ck_" in str(each.name)
        }
        assert await connection.run_sync(_checks) == declared
    await engine.dispose()
