"""The brokers that the conformance suite judges."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from messaging.rabbit_fitness import plain_connect
from messaging.topology import Names
from tests.conformance.worlds import BrokerWorld, MemoryWorld, RabbitWorld
from tests.faults.proxy import FaultProxy


@pytest.fixture
async def memory_world() -> AsyncIterator[MemoryWorld]:
    world = MemoryWorld()
    async with world.clients:
        yield world


@pytest.fixture
async def rabbit_world(amqp_url: str, names: Names) -> AsyncIterator[RabbitWorld]:
    parts = urlsplit(amqp_url)
    async with FaultProxy(parts.hostname or "", parts.port or 5672) as proxy:
        world = RabbitWorld(amqp_url, names, proxy)
        async with world.clients:
            yield world


@pytest.fixture
async def plain_rabbit_world(rabbit_world: RabbitWorld) -> RabbitWorld:
    """Message by message, as if the client library could not be tapped."""
    rabbit_world.connect = plain_connect
    return rabbit_world


@pytest.fixture(
    params=[
        "memory",
        pytest.param("rabbit", marks=pytest.mark.rabbitmq),
        pytest.param("plain_rabbit", marks=pytest.mark.rabbitmq),
    ]
)
def broker_world(request: pytest.FixtureRequest) -> BrokerWorld:
    """Each test that asks for it runs against every kind of broker."""
    world: BrokerWorld = request.getfixturevalue(f"{request.param}_world")
    return world
