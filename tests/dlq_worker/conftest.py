"""A database with sagas, and what every test of the worker begins with."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from dlq_stories import NAMES, Facts

from messaging.memory import MemoryBroker
from messaging.memory_server import MemoryServer
from messaging.topology import TopologyMode, installation


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
def stopping() -> Iterator[asyncio.Event]:
    stopping = asyncio.Event()
    yield stopping
    stopping.set()


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
async def broker(server: MemoryServer) -> AsyncIterator[MemoryBroker]:
    """The embedded broker with a whole installation declared."""
    broker = MemoryBroker(
        server,
        names=NAMES,
        topology=installation(NAMES, ["InventoryService", "PaymentService", "ShippingService"]),
        mode=TopologyMode.DECLARE,
        app_id="dlq-worker",
    )
    async with broker:
        yield broker
