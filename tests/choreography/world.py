"""An installation on the embedded broker: services, the recorder, the DLQ worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from tenacity import wait_none

from chassis.facts import Fact
from chassis.pacing import Pace, Reachability
from chassis.settings import DlqSettings, RecorderSettings
from dlq_worker.listing import LetterFilter, list_letters
from dlq_worker.statuses import Status
from dlq_worker.views import LetterView
from dlq_worker.worker import DlqWorker
from messaging.memory import MemoryBroker, MemoryServer
from messaging.topology import Names, Topology, TopologyMode, installation, joined, recording
from orchestrator.recorder.run import record
from orchestrator.store.database import DatabaseStore
from orchestrator.store.event_queries import Record, show_choreography
from participants.choreography.definition import Choreography
from participants.memory_inbox import MemoryInbox
from participants.run import topology_of
from participants.runner import Runner
from tests.choreography.ear import SECONDS, Ear
from tests.participants.desk import running

T = TypeVar("T")
NAMES = Names("t")
QUICK = timedelta(milliseconds=20)


@dataclass
class World:
    """Servers that stay, and programs that come and go."""

    store: DatabaseStore
    server: MemoryServer = field(default_factory=MemoryServer)
    inbox: MemoryInbox = field(default_factory=MemoryInbox)
    facts: list[Fact] = field(default_factory=list)

    @asynccontextmanager
    async def broker(
        self, topology: Topology, app_id: str = "tests"
    ) -> AsyncIterator[MemoryBroker]:
        broker = MemoryBroker(
            self.server, names=NAMES, topology=topology, mode=TopologyMode.DECLARE, app_id=app_id
        )
        async with broker:
            yield broker

    @asynccontextmanager
    async def recorder(self, **settings: Any) -> AsyncIterator[None]:
        chosen = RecorderSettings(namespace="t", poll_interval=QUICK, **settings)
        pace = Pace(asyncio.Event(), Reachability(self.facts.append))
        topology = joined(installation(NAMES, ()), recording(NAMES))
        async with self.broker(topology, "recorder") as broker:
            work = asyncio.create_task(record(broker, self.store, chosen, self.facts.append, pace))
            try:
                yield
            finally:
                pace.stopping.set()
                await asyncio.wait_for(work, SECONDS)

    @asynccontextmanager
    async def dlq_worker(self, **settings: Any) -> AsyncIterator[None]:
        chosen = DlqSettings(namespace="t", poll_interval=QUICK, **settings)
        stopping = asyncio.Event()
        async with self.broker(installation(NAMES, ()), "dlq-worker") as broker:
            worker = DlqWorker(broker, self.store, chosen, self.facts.append, sinks=[])
            work = asyncio.create_task(worker.run(stopping))
            try:
                yield
            finally:
                stopping.set()
                await asyncio.wait_for(work, SECONDS)

    @asynccontextmanager
    async def services(self, *services: Choreography) -> AsyncIterator[Runner]:
        async with self.broker(topology_of(NAMES, services), "participants") as broker:
            runner = Runner(
                *services,
                broker=broker,
                inbox=self.inbox,
                names=NAMES,
                observe=self.facts.append,
                pauses=wait_none(),
            )
            async with running(runner):
                yield runner

    @asynccontextmanager
    async def mouth(self) -> AsyncIterator[Ear]:
        """To tell of events: who listens is the recorder."""
        async with AsyncExitStack() as stack:
            topology = joined(installation(NAMES, ()), recording(NAMES))
            broker = await stack.enter_async_context(self.broker(topology))
            consumer = await broker.consume(NAMES.dead_letters, prefetch=1)
            await consumer.close()
            yield Ear(NAMES, broker, consumer, consumer)

    async def record_of(self, saga_id: str = "order-1") -> Record | None:
        return await show_choreography(self.store, saga_id)

    async def recorded(self, is_so: Callable[[Record], bool], saga_id: str = "order-1") -> Record:
        """The record once that is true of it."""

        async def look() -> Record | None:
            found = await self.record_of(saga_id)
            return found if found and is_so(found) else None

        return await until(look)

    async def letter(self, is_so: Callable[[LetterView], bool]) -> LetterView:
        """The dead letter once that is true of it."""

        async def look() -> LetterView | None:
            views = await list_letters(self.store, LetterFilter(statuses=None))
            return next((view for view in views if is_so(view)), None)

        return await until(look)


def ended(record: Record) -> bool:
    return record.standing.ended_at is not None


def is_alerted(view: LetterView) -> bool:
    return view.alert is not None and view.stored.status is Status.OPEN


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    async with asyncio.timeout(SECONDS):
        while True:
            found = await look()
            if found is not None:
                return found
            await asyncio.sleep(0.02)
