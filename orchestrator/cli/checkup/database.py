"""The saga database: can it be reached, is its schema current, may we do our work there."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.settings import Settings
from dlq_worker.tables import alert_deliveries, alerts, dead_letter_actions, dead_letters
from messaging.errors import SagaError
from orchestrator.cli.checkup.finding import Finding, misconfigured, problem_of, warning, well
from orchestrator.store.engines import database_url_of, is_memory
from orchestrator.store.revisions import is_behind, newest, revision_of
from orchestrator.store.stores import store_for
from orchestrator.store.tables import saga_history, sagas

DATABASE: Final = "database"
SCHEMA: Final = "schema"
ROLE: Final = "role"
_REACH: Final = "start it, create it, or correct SAGA_DATABASE_URL: host, user, password, database"
_APPEND_ONLY: Final = (saga_history, dead_letter_actions)
_CHANGED: Final = (sagas, dead_letters, alerts, alert_deliveries)
_NEEDS: Final = [
    *((table.name, verb) for table in _CHANGED for verb in ("SELECT", "INSERT", "UPDATE")),
    *((table.name, verb) for table in _APPEND_ONLY for verb in ("SELECT", "INSERT")),
]
_OLDEST: Final = 140_000  # server_version_num of PostgreSQL 14
_SERVER: Final = sa.text(
    "SELECT current_setting('server_version') AS version,"
    " current_setting('server_version_num')::int AS number,"
    " current_database() AS name, current_user AS role, pg_is_in_recovery() AS is_replica,"
    " current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commits,"
    " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser"
)


async def look_at_database(settings: Settings) -> list[Finding]:
    try:
        url = settings.required_database_url()
        known = database_url_of(url)
    except SagaError as error:
        return [problem_of(DATABASE, error, _REACH)]
    if known.get_backend_name() == "sqlite" and (is_memory(known) or _is_missing(known.database)):
        remedy = "`saga db upgrade` makes it, or set SAGA_DATABASE_URL to another file"
        return [misconfigured(DATABASE, f"there is no SQLite database {known.database!r}", remedy)]
    try:
        store = store_for(url)
        try:
            async with store.reading() as connection:
                return [finding async for finding in _of_connection(connection)]
        finally:
            await store.close()
    except SagaError as error:
        return [problem_of(DATABASE, error, _REACH)]


def _is_missing(file: str | None) -> bool:
    return not file or (not file.startswith("file:") and not Path(file).exists())


async def _of_connection(connection: AsyncConnection) -> AsyncIterator[Finding]:
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        server = (await connection.execute(_SERVER)).mappings().one()
        for finding in _of_server(server):
            yield finding
    else:
        version = await connection.scalar(sa.text("SELECT sqlite_version()"))
        detail = f"SQLite {version}, {connection.engine.url.database}: one machine, for trials"
        yield well(DATABASE, detail)
    revision = await revision_of(connection)
    if is_behind(revision):
        detail = (
            f"the schema is at revision {revision or 'none'}, and this release needs {newest()}"
        )
        yield misconfigured(SCHEMA, detail, "run `saga db upgrade`")
        return
    yield well(SCHEMA, f"revision {revision}, which is what this release needs")
    if is_postgres:
        yield await _of_privileges(connection)


def _of_server(server: sa.RowMapping) -> Iterator[Finding]:
    where = f"PostgreSQL {server['version']}, database {server['name']}, as {server['role']}"
    if server["is_replica"]:
        yield misconfigured(DATABASE, f"{where}: a replica", "connect to the primary")
        return
    yield well(DATABASE, where)
    if server["number"] < _OLDEST:
        yield warning(DATABASE, "PostgreSQL before 14 is not tested", "take 14 or newer")
    for setting, column in (("fsync", "fsync"), ("synchronous_commit", "commits")):
        if server[column] == "off":
            detail = f"{setting} is off: a crash of the server loses what was committed"
            yield warning(DATABASE, detail, "turn it on")
    if server["is_superuser"]:
        remedy = "give the programs a role of their own, as deploy/postgres/roles.sql does"
        yield warning(ROLE, f"{server['role']} is a superuser", remedy)


async def _of_privileges(connection: AsyncConnection) -> Finding:
    """By table and verb, because PostgreSQL takes a list of verbs for any of them."""
    asked = sa.text("SELECT has_table_privilege(current_user, :table, :verb)")
    lacking = [
        f"{verb} on {table}"
        for table, verb in _NEEDS
        if not await connection.scalar(asked, {"table": table, "verb": verb})
    ]
    if lacking:
        remedy = "grant it, as deploy/postgres/roles.sql does"
        return misconfigured(ROLE, f"the role lacks {', '.join(lacking)}", remedy)
    return well(ROLE, "it may read and write all tables")
