"""Database URLs: which are known, and that no password is ever shown."""

from pathlib import Path

import pytest

from messaging.errors import ConfigurationError
from orchestrator.store.database import DatabaseStore
from orchestrator.store.engines import database_url_of, postgres_arguments
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.sqlite import SqliteStore
from orchestrator.store.stores import store_for


@pytest.mark.parametrize(
    ("database_url", "kind"),
    [
        ("postgresql://u:p@h/d", PostgresStore),
        ("postgres://u:p@h/d", PostgresStore),
        ("postgresql+psycopg://u:p@h/d", PostgresStore),
        ("sqlite:///sagas.db", SqliteStore),
        ("sqlite+aiosqlite:///sagas.db", SqliteStore),
    ],
)
async def test_a_url_names_its_store(database_url: str, kind: type[DatabaseStore]) -> None:
    store = store_for(database_url)
    assert type(store) is kind
    await store.close()


@pytest.mark.parametrize(
    "database_url",
    ["mysql://root:hunter2@h/d", "hunter2", "", "postgresql+asyncpg://u:hunter2@h/d"],
)
def test_another_url_is_refused_with_a_remedy_and_without_its_password(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host") as caught:
        store_for(database_url)
    assert "hunter2@" not in str(caught.value)


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SAGA_DATABASE_URL"):
        store_for("postgresql://u:hunter2@host:port/d")


def test_the_url_wins_over_our_timeouts() -> None:
    url = (
        "postgresql://h/d?connect_timeout=9&options=-c%20statement_timeout%3D1s&application_name=x"
    )
    arguments = postgres_arguments(database_url_of(url))
    assert (arguments["connect_timeout"], arguments["application_name"]) == ("9", "x")
    assert arguments["options"].endswith("-c statement_timeout=1s")
    assert "lock_timeout=2s" in arguments["options"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"folder '{tmp_path}/no' .* does not exist"):
        store_for(f"sqlite:///{tmp_path}/no/sagas.db")
