"""The schema's versions, and how a database is brought to the newest one.

The version files form one chain and are run by Alembic from the installed package, without
an `alembic.ini`. Migrations only ever add: a release must work on a schema that is newer.
"""

from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chassis.patience import ImpatientConnection
from orchestrator.store.engines import database_url_of, engine_for
from orchestrator.store.errors import translated
from orchestrator.store.revisions import is_behind, newest, revision_of

_LOCK: Final = 0x5A9A_5C4E  # of Postgres, so that several daemons may migrate at once


async def upgrade(database_url: str) -> None:
    """Bring the database to the newest revision. Raises Unavailable."""
    with translated():
        engine = engine_for(database_url_of(database_url))
        try:
            await upgrade_engine(engine)
        finally:
            await engine.dispose()


async def current(database_url: str) -> tuple[str | None, str]:
    """The database's revision (None: no schema yet) and the newest that we know."""
    with translated():
        engine = engine_for(database_url_of(database_url))
        try:
            async with engine.connect() as connection:
                return await revision_of(connection), newest()
        finally:
            await engine.dispose()


async def upgrade_engine(engine: AsyncEngine) -> None:
    """Bring the engine's database to the newest revision, in one transaction.

    A database that is at a later revision than we know is left as it is.
    """
    is_postgres = engine.dialect.name == "postgresql"
    if is_postgres:
        engine = engine.execution_options(isolation_level="READ COMMITTED")
    async with engine.begin() as connection:
        if is_postgres:
            await _lock(connection)
        if is_behind(await revision_of(connection)):
            await connection.run_sync(_upgrade)
    if is_postgres:
        await engine.dispose()  # of the connection that has been told to wait for ever


async def _lock(connection: AsyncConnection) -> None:
    """Wait for others who migrate, however long they take; a migration may take long, too."""
    raw = await connection.get_raw_connection()
    if isinstance(raw.driver_connection, ImpatientConnection):
        raw.driver_connection.patience = None
    for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        await connection.exec_driver_sql(f"SET LOCAL {setting} = 0")
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "orchestrator.store:migrations")
    return config


def _upgrade(connection: sa.Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
