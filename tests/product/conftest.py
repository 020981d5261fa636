"""Servers, databases and a namespace of its own for each installation."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.postgres import PrivatePostgres, postgres_programs
from servers.rabbit import PrivateRabbit, rabbit_programs

from tests.product.installation import Place
from tests.product.node import install, missing_tools
from tests.product.places import drop_database, new_place, remove_topology
from tests.product.scale import FULL, Scale, is_full, scale_of_environment


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"full: only with {FULL}=1, for it takes minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is told in full only; it is reported as deselected."""
    left_out = [item for item in items if item.get_closest_marker("full") and not is_full()]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def scale() -> Scale:
    return scale_of_environment()


@pytest.fixture(scope="package")
def rabbit() -> Iterator[PrivateRabbit]:
    """A RabbitMQ that may be killed and frozen."""
    if not (rabbit_programs() or os.environ.get("CI")):
        pytest.skip("no rabbitmq-server on this machine")
    with PrivateRabbit() as server:
        yield server


@pytest.fixture(scope="package")
def postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL that may be killed and frozen."""
    if not (postgres_programs() or os.environ.get("CI")):
        pytest.skip("no postgres on this machine")
    with PrivatePostgres() as server:
        yield server


@pytest.fixture(scope="package")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The participant in Node.js, ready to run."""
    missing = missing_tools()
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing} not found")
    if missing:
        pytest.skip(f"{missing} not found")
    folder = tmp_path_factory.mktemp("node")
    install(folder)
    return folder


@pytest.fixture
def frail_place(rabbit: PrivateRabbit, postgres: PrivatePostgres) -> Iterator[Place]:
    """A namespace and two databases on the servers that may be killed."""
    yield new_place(rabbit.url, postgres.url)
    for server in (rabbit, postgres):
        server.resume()
        server.start()


@pytest.fixture
def place(amqp_url: str, postgres_url: str) -> Iterator[Place]:
    """A namespace and two databases on the servers that all tests share, removed afterwards."""
    place = new_place(amqp_url, postgres_url)
    yield place
    for url in (place.saga_database, place.shop_database):
        drop_database(postgres_url, url)
    asyncio.run(remove_topology(place))
