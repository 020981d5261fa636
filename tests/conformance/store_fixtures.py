"""A store on each database, with its schema."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for

DATABASES = ("sqlite", "postgres")


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sagas.db"
    url: str = request.getfixturevalue("empty_database_url")
    return url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[DatabaseStore]:
    """A store of each kind, with its schema."""
    store = store_for(database_url)
    await store.upgrade()
    yield store
    await store.close()
