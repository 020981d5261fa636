"""The servers that tests run against, a namespace and a database for each test."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import psycopg
import pytest
from psycopg import sql

from messaging.topology import Names

ORDER_PARTICIPANTS = (
    "InventoryService",
    "PaymentService",
    "ShippingService",
    "NotificationService",
)
OTHER_PARTICIPANTS = ("TestService", "OtherService")
SERVER_MARKS = {"amqp_url": "rabbitmq", "postgres_url": "postgres"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by the servers that its fixtures ask for, so that `make fast` leaves it out."""
    for fixture, mark in SERVER_MARKS.items():
        if fixture in getattr(item, "fixturenames", ()):
            item.add_marker(mark)


def _required(variable: str) -> str:
    """The server's URL; without it a test skips on a laptop and fails in CI."""
    url = os.environ.get(variable)
    if url:
        return url
    message = f"{variable} is not set; `make test` finds or starts the servers"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """A real RabbitMQ."""
    return _required("SAGA_TEST_AMQP_URL")


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A real PostgreSQL; the user may create databases."""
    return _required("SAGA_TEST_DATABASE_URL")


@pytest.fixture
async def names(amqp_url: str) -> AsyncIterator[Names]:
    """A namespace of the test's own on the real broker, removed afterwards."""
    names = Names(f"t-{uuid.uuid4().hex[:12]}")
    yield names
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        channel = await connection.channel()
        participants = (*ORDER_PARTICIPANTS, *OTHER_PARTICIPANTS)
        queues = [names.starts, names.replies, names.dead_letters]
        for queue in (*queues, *(names.commands_for(name) for name in participants)):
            await channel.queue_delete(queue)
        for exchange in names.exchanges():
            await channel.exchange_delete(exchange.name)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A fresh, empty database on the real server, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        connection.execute(drop.format(sql.Identifier(name)))
