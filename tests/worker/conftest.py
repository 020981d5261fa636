"""A stage for the worker: embedded broker with SQLite, and RabbitMQ with PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from messaging.memory import MemoryBroker, MemoryServer
from messaging.port import Broker
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, TopologyMode, installation
from orchestrator.client import SagaClient
from orchestrator.store.stores import store_for
from tests.worker.stage import PARTICIPANTS, SECONDS, Desk, Stage
from tests.worker.watched import WatchedStore

SERVERS = [pytest.mark.rabbitmq, pytest.mark.postgres]


@pytest.fixture
def server() -> MemoryServer:
    """The embedded broker's server, of the tests in memory."""
    return MemoryServer()


@pytest.fixture(params=["embedded", pytest.param("servers", marks=SERVERS)])
def kind(request: pytest.FixtureRequest) -> str:
    """Each test of the worker runs on both; marks of `stage` keep one to either, or have it run
    once more with a store that remembers nothing."""
    kind: str = request.param
    return kind


@dataclass(frozen=True)
class Places:
    """Where the servers of a stage are."""

    names: Names
    database_url: str
    amqp_url: str | None  # None: a broker in memory


@pytest.fixture
def places(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Places:
    if kind == "embedded":
        return Places(Names("t"), f"sqlite:///{tmp_path}/sagas.db", None)
    return Places(*map(request.getfixturevalue, ("names", "empty_database_url", "amqp_url")))


@pytest.fixture
async def stage(places: Places, server: MemoryServer, kind: str) -> AsyncIterator[Stage]:
    names = places.names
    common: dict[str, Any] = {
        "names": names,
        "topology": installation(names, PARTICIPANTS),
        "mode": TopologyMode.DECLARE,
        "app_id": "orchestrator",
    }

    def new_broker(amqp_url: str | None = places.amqp_url) -> Broker:
        if amqp_url is None:
            return MemoryBroker(server, **common)
        return RabbitBroker(amqp_url, **common)

    store: Any = WatchedStore(store_for(places.database_url), remembers=kind != "locking")
    await store.upgrade()
    yield Stage(names, store, places.database_url, new_broker)
    await store.close()


@pytest.fixture
async def desk(stage: Stage, places: Places) -> AsyncIterator[Desk]:
    queues = {name: stage.names.commands_for(name) for name in PARTICIPANTS}
    queues["dead letters"] = stage.names.dead_letters
    async with AsyncExitStack() as opened:
        broker = await opened.enter_async_context(stage.new_broker())
        await broker.wait_ready(SECONDS)
        client = await opened.enter_async_context(SagaClient(stage.database_url))
        consumers = {
            name: await broker.consume(queue, prefetch=100) for name, queue in queues.items()
        }
        await broker.wait_ready(SECONDS)
        user = urlsplit(places.amqp_url).username if places.amqp_url else "guest"
        yield Desk(stage, broker, client, consumers, user or "guest")


@pytest.fixture
async def serving(desk: Desk) -> AsyncIterator[asyncio.Task[None]]:
    """Both participants, doing whatever they are asked."""
    task = asyncio.create_task(desk.serve())
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
