"""A broker of each kind with the faults that can befall it, for one suite of tests."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from messaging.memory import MemoryBroker, MemoryServer
from messaging.port import Broker, Consumer, Delivery, Outgoing
from messaging.rabbit_fitness import fitting_connect
from messaging.rabbit_session import Connect
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, Topology, TopologyMode, installation
from tests.faults.proxy import FaultProxy

PARTICIPANTS = ("TestService", "OtherService")
DELIVERY_LIMIT = 2
SECONDS = 15.0  # how long a test waits for a fact


def small_topology(names: Names) -> Topology:
    """An installation whose queues give up after few deliveries."""
    topology = installation(names, PARTICIPANTS)
    queues = tuple(
        replace(queue, arguments={**queue.arguments, "x-delivery-limit": DELIVERY_LIMIT})
        if "x-delivery-limit" in queue.arguments
        else queue
        for queue in topology.queues
    )
    return replace(topology, queues=queues)


class BrokerWorld(Protocol):
    """One server, any number of clients, and the faults between them."""

    names: Names
    clients: AsyncExitStack
    user: str  # as whom its clients log in

    def broker(self, **arguments: Any) -> Broker:
        """A client, not yet opened."""
        ...

    def lose_connections(self) -> None:
        """Cut every connection; new ones are let in."""
        ...

    async def go_down(self) -> None:
        """Cut every connection and refuse new ones."""
        ...

    async def come_back(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.names = Names("test")
        self.clients = AsyncExitStack()
        self.server = MemoryServer()
        self.user = "guest"

    def broker(self, **arguments: Any) -> Broker:
        return MemoryBroker(self.server, **_defaults(self.names, arguments))

    def lose_connections(self) -> None:
        self.server.drop_connections()

    async def go_down(self) -> None:
        self.server.go_down()

    async def come_back(self) -> None:
        self.server.come_back()


class RabbitWorld:
    def __init__(self, url: str, names: Names, proxy: FaultProxy) -> None:
        self.names = names
        self.clients = AsyncExitStack()
        self.url = url
        self.proxy = proxy
        self.connect: Connect = fitting_connect
        self.user = urlsplit(url).username or "guest"

    def broker(self, **arguments: Any) -> Broker:
        arguments = {"connect": self.connect, **arguments}
        return RabbitBroker(self.proxy.url(self.url), **_defaults(self.names, arguments))

    def lose_connections(self) -> None:
        self.proxy.cut()

    async def go_down(self) -> None:
        await self.proxy.refuse()

    async def come_back(self) -> None:
        await self.proxy.accept()


def _defaults(names: Names, arguments: dict[str, Any]) -> dict[str, Any]:
    topology = small_topology(names)
    mode = TopologyMode.DECLARE
    return {"names": names, "topology": topology, "mode": mode, "app_id": "test", **arguments}


async def ready_broker(world: BrokerWorld, **arguments: Any) -> Broker:
    """A client that is connected; it is closed when the test ends."""
    broker = await world.clients.enter_async_context(world.broker(**arguments))
    await broker.wait_ready(SECONDS)
    return broker


async def ready_consumer(
    broker: Broker, queue: str, prefetch: int = 100, priority: int = 0
) -> Consumer:
    consumer = await broker.consume(queue, prefetch=prefetch, priority=priority)
    await broker.wait_ready(SECONDS)
    return consumer


async def receive(consumer: Consumer, count: int) -> list[Delivery]:
    """Exactly `count` deliveries, within the deadline."""
    deliveries: list[Delivery] = []
    async with asyncio.timeout(SECONDS):
        while len(deliveries) < count:
            deliveries += await consumer.receive(count - len(deliveries))
    return deliveries


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait for a fact, with a deadline."""
    async with asyncio.timeout(SECONDS):
        while not is_so():
            await asyncio.sleep(0.01)


def command(names: Names, body: bytes = b"{}", **changes: Any) -> Outgoing:
    """A message for the queue of TestService's commands."""
    message = Outgoing(
        exchange=names.commands,
        routing_key="TestService.Do",
        type="TestService.Do",
        body=body,
        correlation_id="saga-1",
    )
    return replace(message, **changes)


def commands(names: Names, count: int) -> list[Outgoing]:
    """Commands whose bodies count from 0."""
    return [command(names, str(number).encode()) for number in range(count)]


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [delivery.body for delivery in deliveries]
