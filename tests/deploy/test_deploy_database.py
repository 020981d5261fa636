"""deploy/postgres/roles.sql on a real PostgreSQL: each role may do its work and no more."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from checkers import DEPLOY, program
from servers.postgres import PrivatePostgres
from store.sagas import insert, load, now, running

from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for

pytestmark = pytest.mark.postgres
ROLES = ("saga_owner", "saga_app", "order_services")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    secrets = tmp_path_factory.mktemp("secrets")
    for role in ROLES:
        (secrets / f"{role}_password").write_text(f'{role}\'s "own"\n')
    with PrivatePostgres() as server:
        _run(server, DEPLOY / "postgres" / "roles.sql", secrets)
        asyncio.run(_migrate(_url(server, "saga_owner", "saga")))
        yield server


async def _migrate(url: str) -> None:
    async with closing(store_for(url)) as store:
        await store.upgrade()


@asynccontextmanager
async def closing(store: DatabaseStore) -> AsyncIterator[DatabaseStore]:
    try:
        yield store
    finally:
        await store.close()


def _run(server: PrivatePostgres, script: Path, secrets: Path) -> None:
    psql = program("psql", "postgresql-client")
    command = [psql, "--no-psqlrc", "--quiet", "--file", str(script), server.url]
    env = {**os.environ, "SAGA_SECRETS_DIR": str(secrets)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _url(server: PrivatePostgres, role: str, database: str) -> str:
    address = urlsplit(server.url)
    place = f"{role}:{quote(_password(role))}@{address.hostname}:{address.port}"
    return urlunsplit(address._replace(netloc=place, path=database))


def _password(role: str) -> str:
    """One that would break out of every quotation it is carelessly put in."""
    return f'{role}\'s "own"'


def _connected(
    server: PrivatePostgres, role: str, database: str
) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(_url(server, role, database), autocommit=True)


async def test_the_programs_work_with_the_tables_that_the_owner_made(
    postgres: PrivatePostgres,
) -> None:
    async with closing(store_for(_url(postgres, "saga_app", "saga"))) as store:
        await store.check()
        saga = running("order-1", await now(store))
        await insert(store, saga)
        assert await load(store, "order-1") == saga
        assert await store.stuck() == []


def test_the_programs_have_rows_but_not_the_structure_of_every_table(
    postgres: PrivatePostgres,
) -> None:
    query = """
        SELECT tablename, has_table_privilege('saga_app', tablename, 'SELECT')
            AND has_table_privilege('saga_app', tablename, 'INSERT')
            AND has_table_privilege('saga_app', tablename, 'UPDATE')
            AND has_table_privilege('saga_app', tablename, 'DELETE'), tableowner
        FROM pg_tables WHERE schemaname = 'public'
    """
    with _connected(postgres, "saga_owner", "saga") as connection:
        rows = connection.execute(query).fetchall()
    assert {name for name, _, _ in rows} >= {"sagas"}
    assert {(may_use, owner) for _, may_use, owner in rows} == {(True, "saga_owner")}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "ALTER TABLE sagas ADD COLUMN mine int",
        "DROP TABLE sagas",
        "TRUNCATE sagas CASCADE",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "COPY sagas TO PROGRAM 'cat'",
    ],
)
def test_the_programs_cannot_change_what_the_owner_made(
    postgres: PrivatePostgres, statement: str
) -> None:
    with (
        _connected(postgres, "saga_app", "saga") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("role", "database"), [("order_services", "saga"), ("saga_app", "order_services")]
)
def test_services_and_orchestrator_cannot_enter_each_others_database(
    postgres: PrivatePostgres, role: str, database: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        _connected(postgres, role, database)


def test_the_order_services_keep_their_own_tables(postgres: PrivatePostgres) -> None:
    with _connected(postgres, "order_services", "order_services") as connection:
        connection.execute("CREATE TABLE stock (sku text)")
        connection.execute("DROP TABLE stock")
