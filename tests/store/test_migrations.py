"""The schema: made in one go, by any number of programs at once, and as the tables say."""

import asyncio
import sys
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.errors import ConfigurationError
from orchestrator.store.choreographies import choreographies, choreography_replays, saga_events
from orchestrator.store.engines import database_url_of, engine_for
from orchestrator.store.migrations import current, upgrade
from orchestrator.store.queries import list_sagas
from orchestrator.store.revisions import VERSION_TABLE, VERSIONS, known, newest
from orchestrator.store.stores import store_for
from orchestrator.store.tables import saga_history, saga_locks, sagas

pytest_plugins = ["conformance.store_fixtures"]

OURS = {
    each.name
    for each in (
        sagas,
        saga_history,
        saga_locks,
        choreographies,
        saga_events,
        choreography_replays,
    )
}


async def _execute(database_url: str, statement: str) -> None:
    engine = engine_for(database_url_of(database_url))
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


def _differences(connection: Connection) -> list[object]:
    """Between the tables of this package and the database; other packages' are their own."""

    def is_ours(thing: object, name: str | None, kind: str, *_: object) -> bool:
        table = name if kind == "table" else getattr(getattr(thing, "table", None), "name", None)
        return table in OURS

    options = {"version_table": VERSION_TABLE, "include_object": is_ours, "compare_type": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, sagas.metadata))


def _checks(connection: Connection) -> set[str | None]:
    return {check["name"] for check in inspect(connection).get_check_constraints(sagas.name)}


async def test_an_upgrade_brings_an_empty_database_to_the_newest_revision(
    database_url: str,
) -> None:
    assert await current(database_url) == (None, newest())
    await upgrade(database_url)
    assert await current(database_url) == (newest(), newest())


async def test_the_migrations_make_what_the_tables_say(database_url: str) -> None:
    await upgrade(database_url)
    engine: AsyncEngine = engine_for(database_url_of(database_url))
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
        declared = {str(each.name) for each in sagas.constraints if "ck_" in str(each.name)}
        assert await connection.run_sync(_checks) == declared
    await engine.dispose()


def test_the_files_are_named_after_their_revisions_in_the_order_of_the_chain() -> None:
    chain = ScriptDirectory(str(VERSIONS.parent)).walk_revisions()
    assert known() == [script.revision for script in chain][::-1]


async def test_who_only_checks_the_schema_loads_no_alembic(database_url: str) -> None:
    await upgrade(database_url)
    code = (
        "import asyncio, sys\n"
        "from orchestrator.store.stores import store_for\n"
        "import orchestrator.worker.run\n"
        "asyncio.run(store_for(sys.argv[1]).check())\n"
        "print('alembic' in sys.modules)"
    )
    program = [sys.executable, "-c", code, database_url]
    checking = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert await checking.communicate() == (b"False\n", None)


async def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    await upgrade(database_url)
    await _execute(database_url, "CREATE TABLE ours (a INTEGER)")
    await upgrade(database_url)
    assert await current(database_url) == (newest(), newest())


async def test_many_may_upgrade_at_once(database_url: str) -> None:
    await asyncio.gather(*(upgrade(database_url) for _ in range(4)))
    assert await current(database_url) == (newest(), newest())


async def test_an_upgrade_that_fails_leaves_nothing_behind(database_url: str) -> None:
    await _execute(database_url, "CREATE TABLE saga_history (a INTEGER)")
    with pytest.raises(Exception, match="already exists"):
        await upgrade(database_url)
    assert (await current(database_url))[0] is None
    await _execute(database_url, "DROP TABLE saga_history")
    await upgrade(database_url)


async def test_a_schema_that_is_newer_than_the_release_is_accepted_and_kept(
    database_url: str,
) -> None:
    await upgrade(database_url)
    await _execute(database_url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    await upgrade(database_url)
    assert (await current(database_url))[0] == "9999"
    store = store_for(database_url)
    await store.check()
    await store.close()


async def test_a_database_without_a_schema_is_refused_by_both_revisions(database_url: str) -> None:
    store = store_for(database_url)
    with pytest.raises(ConfigurationError, match=rf"revision none.*needs {newest()}"):
        await store.check()
    await store.close()


async def _brought_to(database_url: str, revision: str, *, down: bool = False) -> None:
    """Run the migrations up or down to this revision."""

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "orchestrator.store:migrations")
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)

    engine = engine_for(database_url_of(database_url))
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


async def _told(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    engine = engine_for(database_url_of(database_url))
    async with engine.connect() as connection:
        rows = [tuple(row) for row in await connection.execute(text(statement))]
    await engine.dispose()
    return rows


def _index_names(connection: Connection) -> set[str | None]:
    inspector = inspect(connection)
    return {
        index["name"]
        for table in ("sagas", "dead_letters", "alerts")
        for index in inspector.get_indexes(table)
    }


async def _indexes(database_url: str) -> set[str | None]:
    engine = engine_for(database_url_of(database_url))
    async with engine.connect() as connection:
        names = await connection.run_sync(_index_names)
    await engine.dispose()
    return names


async def test_growth_goes_up_and_down_again_with_all_rows(database_url: str) -> None:
    await _brought_to(database_url, "0003")
    before = await _indexes(database_url)
    for state, ended in (("pending", "NULL"), ("completed", "'2026-01-01T00:00:00+00:00'")):
        moment = "'2026-01-01T00:00:00+00:00'"
        await _execute(
            database_url,
            "INSERT INTO sagas (saga_id, saga_type, state, version, input_digest, data, steps,"
            " on_exhausted, created_at, updated_at, ended_at)"
            f" VALUES ('{state}', 'Order', '{state}', 1, 'd', '{{}}', '[]', 'halt',"
            f" {moment}, {moment}, {ended})",
        )
    rows = "SELECT * FROM sagas ORDER BY saga_id"
    told = await _told(database_url, rows)
    await upgrade(database_url)
    assert await _told(database_url, rows) == told
    assert len(await _indexes(database_url) - before) == 8
    store = store_for(database_url)
    assert [each.saga_id for each in await list_sagas(store, state="pending")] == ["pending"]
    await store.close()
    await _brought_to(database_url, "0003", down=True)
    assert await _told(database_url, rows) == told
    assert await _indexes(database_url) == before
    await upgrade(database_url)
    assert await current(database_url) == (newest(), newest())
