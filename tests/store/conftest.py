"""What the tests of the store share beyond the conformance suite's fixtures."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestrator.store.postgres import PostgresStore


@pytest.fixture
def closed_port_url() -> Iterator[str]:
    """A database on a port that nobody listens to; it stays taken while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"postgresql://someone:hunter2@127.0.0.1:{taken.getsockname()[1]}/nothing"


@pytest.fixture
async def stores(empty_database_url: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two workers' stores on one database."""
    both = PostgresStore(empty_database_url), PostgresStore(empty_database_url)
    await both[0].upgrade()
    yield both
    for store in both:
        await store.close()
