"""A stage for choreographed services: a broker and a log of each kind, and an ear for events."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from tenacity import wait_none

from chassis.facts import Fact
from messaging.memory import MemoryBroker, MemoryServer
from messaging.port import Broker
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, TopologyMode, installation, joined, recording
from participants.choreography.definition import Choreography
from participants.inbox import Inbox
from participants.run import topology_of
from participants.runner import Runner, inbox_for
from tests.choreography.ear import Ear
from tests.conformance.place_fixtures import KINDS, Places, places_of

SQL_KINDS = KINDS[1:]
SERVICES = ("First", "Second", "OrderService", "InventoryService", "PaymentService")
ON_SQL = pytest.mark.parametrize("places", SQL_KINDS, indirect=True, ids=["sqlite", "servers"])


@dataclass
class Stage:
    """Everything that a runner needs, and what it has said."""

    names: Names
    ear: Ear
    inbox: Inbox
    inbox_url: str | None
    server: MemoryServer  # of the brokers in memory
    open_broker: Callable[..., Any]
    facts: list[Fact] = field(default_factory=list)

    async def runner(self, *services: Choreography, **options: Any) -> Runner:
        """Over a broker of its own, which has declared what the services listen to."""
        settings: dict[str, Any] = {
            "broker": await self.open_broker(*services),
            "inbox": self.inbox,
            "names": self.names,
            "observe": self.facts.append,
            "pauses": wait_none(),
        }
        return Runner(*services, **settings | options)

    def facts_of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


@pytest.fixture(params=KINDS, ids="-".join)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    return places_of(request, tmp_path)


@pytest.fixture
async def stage(places: Places) -> AsyncIterator[Stage]:
    server = MemoryServer()
    names = places.names
    async with AsyncExitStack() as open_things:

        async def open_broker(*services: Choreography) -> Broker:
            topology = joined(topology_of(names, services), recording(names))
            common: dict[str, Any] = {
                "names": names,
                "topology": topology if services else joined(installation(names, ()), topology),
                "mode": TopologyMode.DECLARE,
                "app_id": "tests",
            }
            broker: Broker = (
                MemoryBroker(server, publish_deadline=1.0, **common)
                if places.amqp_url is None
                else RabbitBroker(places.amqp_url, **common)
            )
            await open_things.enter_async_context(broker)
            await broker.wait_ready(20.0)
            return broker

        ear = await Ear.open(names, await open_broker())
        inbox = inbox_for(places.inbox_url)
        open_things.push_async_callback(inbox.close)
        yield Stage(names, ear, inbox, places.inbox_url, server, open_broker)
    if places.amqp_url is not None:
        await _remove_queues(names, places.amqp_url)


async def _remove_queues(names: Names, amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in (names.event_log, *map(names.choreography_of, SERVICES)):
            await channel.queue_delete(queue)
