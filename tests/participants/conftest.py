"""A stage for participants: a broker and an inbox of each kind, and the other side's desk."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from chassis.facts import Fact
from messaging.memory import MemoryBroker, MemoryServer
from messaging.port import Broker
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, TopologyMode, installation
from participants import Participant
from participants.inbox import Inbox
from participants.runner import Runner, inbox_for
from tests.conformance.place_fixtures import KINDS, Places, places_of
from tests.participants.desk import Desk

SERVICES = ("TestService", "OtherService")

# For faults that only the embedded broker, or only a real one, can be given.
ON_MEMORY = pytest.mark.parametrize("places", KINDS[:1], indirect=True, ids=["memory"])
ON_SERVERS = pytest.mark.parametrize("places", KINDS[2:], indirect=True, ids=["servers"])


@dataclass
class Stage:
    """Everything that a runner needs, and what it has said."""

    names: Names
    desk: Desk
    inbox: Inbox
    inbox_url: str | None
    new_broker: Callable[[], Broker]
    broker: Broker
    server: MemoryServer  # of the brokers in memory
    facts: list[Fact] = field(default_factory=list)

    def runner(self, *participants: Participant, **options: Any) -> Runner:
        settings: dict[str, Any] = {
            "broker": self.broker,
            "inbox": self.inbox,
            "names": self.names,
            "observe": self.facts.append,
            "pauses": wait_none(),
        }
        return Runner(*participants, **settings | options)

    def facts_of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


@pytest.fixture(params=KINDS, ids="-".join)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    return places_of(request, tmp_path)


@pytest.fixture
async def stage(places: Places) -> AsyncIterator[Stage]:
    server = MemoryServer()
    common: dict[str, Any] = {
        "names": places.names,
        "topology": installation(places.names, SERVICES),
        "mode": TopologyMode.DECLARE,
        "app_id": "tests",
    }

    def new_broker() -> Broker:
        if places.amqp_url is None:
            return MemoryBroker(server, publish_deadline=1.0, **common)
        return RabbitBroker(places.amqp_url, **common)

    async with AsyncExitStack() as open_things:
        desk = await Desk.open(places.names, await open_things.enter_async_context(new_broker()))
        broker = await open_things.enter_async_context(new_broker())
        inbox = inbox_for(places.inbox_url)
        open_things.push_async_callback(inbox.close)
        yield Stage(places.names, desk, inbox, places.inbox_url, new_broker, broker, server)
