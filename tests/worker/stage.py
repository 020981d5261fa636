"""A worker at work, and the tests' hand in everything around it: clients and participants."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from chassis.facts import Fact
from chassis.settings import OrchestratorSettings, load
from messaging import codec
from messaging.contract import Command, Direction, Reply, ReplyType, StartRequest
from messaging.errors import Unavailable
from messaging.port import Broker, Consumer, Delivery, Outgoing, Receipt
from messaging.topology import Names
from orchestrator.client import SagaClient
from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep
from orchestrator.registry import Registry
from orchestrator.store.database import DatabaseStore
from orchestrator.store.views import SagaView
from orchestrator.worker.service import Worker

SECONDS = 30.0  # how long a test waits for a fact
TOGETHER = datetime(2030, 1, 1, tzinfo=UTC)  # when workers begin who are to share the load
SHORT = timedelta(milliseconds=300)
QUICKLY = RetryPolicy(max_attempts=2, initial=timedelta(milliseconds=50), jitter=False)
PARTICIPANTS = ("TestService", "OtherService")

# For faults that only the embedded broker, or only real servers, can be given.
ON_EMBEDDED = pytest.mark.parametrize("kind", ["embedded"], indirect=True)
_SERVERS = [pytest.mark.rabbitmq, pytest.mark.postgres]
ON_SERVERS = pytest.mark.parametrize(
    "kind", [pytest.param("servers", marks=_SERVERS)], indirect=True
)
# Whether a saga is saved at once, as mostly on PostgreSQL, or locked and read before.
ON_BOTH_WAYS = pytest.mark.parametrize(
    "kind",
    ["embedded", *(pytest.param(each, marks=_SERVERS) for each in ("servers", "locking"))],
    indirect=True,
)


class Trip(SagaOrchestrator):
    """Two steps, one after the other."""

    saga_type = "Trip"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        if data.get("impossible"):
            raise ValueError("nobody flies there")
        return [
            SagaStep("flight", "TestService.Book", "TestService.Cancel"),
            SagaStep("hotel", "OtherService.Book", "OtherService.Cancel"),
        ]


class HastyTrip(SagaOrchestrator):
    """Its step waits only shortly, and its compensation is tried twice."""

    saga_type = "HastyTrip"
    STEP_TIMEOUTS: ClassVar[Mapping[str, timedelta]] = {"hotel": SHORT}

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        undo = "TestService.Cancel"
        return [
            SagaStep("flight", "TestService.Book", undo, compensation_retry=QUICKLY),
            SagaStep("hotel", "OtherService.Book"),
        ]


class LonelyTrip(SagaOrchestrator):
    """Asks a participant that has no queue."""

    saga_type = "LonelyTrip"
    STEP_TIMEOUTS: ClassVar[Mapping[str, timedelta]] = {"moon": timedelta(seconds=1)}

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [SagaStep("moon", "MoonService.Fly")]


@dataclass
class Stage:
    """A store, brokers, and what every worker on it reports."""

    names: Names
    store: DatabaseStore
    database_url: str
    new_broker: Callable[..., Broker]  # of the test's server, or by another way to it
    facts: list[Fact] = field(default_factory=list)
    definitions: tuple[SagaOrchestrator, ...] = (Trip(), HastyTrip(), LonelyTrip())

    def facts_of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def worker(
        self,
        broker: Broker,
        store: DatabaseStore | None = None,
        *,
        began: datetime = TOGETHER,
        **settings: Any,
    ) -> Worker:
        registry = Registry(self.definitions)
        asked = {"namespace": self.names.namespace, "poll_interval": "50ms", **settings}
        known = load(OrchestratorSettings, **asked)
        chosen = store or self.store
        return Worker(broker, chosen, registry, known, self.facts.append, began=began)

    @asynccontextmanager
    async def working(
        self,
        *,
        broker: Broker | None = None,
        store: DatabaseStore | None = None,
        began: datetime = TOGETHER,
        **settings: Any,
    ) -> AsyncIterator[Worker]:
        """A worker at work, drained at the end. Its broker is new, unless one is given."""
        own = broker or self.new_broker()
        async with own:
            worker = self.worker(own, store, began=began, **settings)
            stopping = asyncio.Event()
            work = asyncio.create_task(worker.run(stopping))
            try:
                await until(own.is_ready)
                yield worker
            finally:
                stopping.set()
                async with asyncio.timeout(SECONDS):
                    await work

    @asynccontextmanager
    async def doomed(
        self, broker: Broker, store: DatabaseStore | None = None
    ) -> AsyncIterator[None]:
        """A worker that is killed at the end, whatever it has in hand."""
        async with broker:
            work = asyncio.create_task(self.worker(broker, store).run(asyncio.Event()))
            await until(broker.is_ready)
            yield
            work.cancel()
            await asyncio.wait([work])


@dataclass
class Desk:
    """Clients and participants: sends what they send, reads what they are sent."""

    stage: Stage
    broker: Broker
    client: SagaClient
    consumers: Mapping[str, Consumer]
    user: str  # as whom it logs in at the broker
    seen: set[tuple[str, int]] = field(default_factory=set)

    async def start(self, saga_id: str, saga_type: str = "Trip", **data: Any) -> None:
        """By message."""
        request = StartRequest(saga_type=saga_type, saga_id=saga_id, data=data)
        await self.send(codec.encode_start(self.stage.names, request))

    async def send(self, *messages: Outgoing) -> None:
        receipts = await self.broker.publish(messages)
        assert set(receipts) == {Receipt.CONFIRMED}

    async def command(self, participant: str = "TestService") -> Command:
        """The next command for that participant; one that is only sent again is passed over."""
        while True:
            command = codec.decode_command(await self.delivery(participant))
            attempt = (command.command_id, command.attempt)
            if attempt not in self.seen:
                self.seen.add(attempt)
                return command

    async def dead_letter(self) -> Delivery:
        return await self.delivery("dead letters")

    async def delivery(self, name: str) -> Delivery:
        consumer = self.consumers[name]
        async with asyncio.timeout(SECONDS):
            [delivery] = await consumer.receive(1)
        await consumer.ack([delivery])
        return delivery

    async def answer(self, command: Command, *, error: str | None = None, **more: Any) -> None:
        """What a participant says to a command: done, or the error."""
        await self.send(codec.encode_reply(self.stage.names, reply_to(command, error, **more)))

    async def carry_out(self, participant: str, *, error: str | None = None) -> Command:
        """Take the next command, and answer it."""
        command = await self.command(participant)
        await self.answer(command, error=error)
        return command

    async def show(self, saga_id: str) -> SagaView:
        view = await self.client.show(saga_id)
        assert view is not None, f"there is no saga {saga_id}"
        return view

    async def ends(self, saga_id: str) -> str:
        await self.reaches(saga_id, lambda _: True)
        return await self.client.wait(saga_id, timeout=SECONDS)

    async def reaches(self, saga_id: str, is_so: Callable[[SagaView], bool]) -> SagaView:
        """The saga, once it is known and that is so."""
        async with asyncio.timeout(SECONDS):
            while True:
                view = await self.client.show(saga_id)
                if view is not None and is_so(view):
                    return view
                await asyncio.sleep(0.02)

    async def serve(self, *, fail: Callable[[Command], bool] = lambda _: False) -> None:
        """Be both participants, without end."""
        async with asyncio.TaskGroup() as group:
            for participant in PARTICIPANTS:
                group.create_task(self._serve(self.consumers[participant], fail))

    async def _serve(self, consumer: Consumer, fail: Callable[[Command], bool]) -> None:
        while True:
            deliveries = await consumer.receive(100)
            commands = [codec.decode_command(each) for each in deliveries]
            replies = [reply_to(each, "no" if fail(each) else None) for each in commands]
            encoded = [codec.encode_reply(self.stage.names, each) for each in replies]
            while Receipt.UNKNOWN in await self.broker.publish(encoded):
                await asyncio.sleep(0.05)
            await consumer.ack(deliveries)


def reply_to(command: Command, error: str | None = None, **more: Any) -> Reply:
    back = command.direction is Direction.COMPENSATION
    kind = {
        (False, False): ReplyType.STEP_COMPLETED,
        (False, True): ReplyType.STEP_FAILED,
        (True, False): ReplyType.COMPENSATION_COMPLETED,
        (True, True): ReplyType.COMPENSATION_FAILED,
    }[back, error is not None]
    said = {} if error is not None or back else {"result": {command.step_name: "booked"}}
    return Reply(
        type=kind,
        saga_id=command.saga_id,
        step_name=command.step_name,
        command_id=command.command_id,
        attempt=command.attempt,
        error=error,
        **{**said, **more},
    )


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for a fact, with a deadline."""
    async with asyncio.timeout(SECONDS):
        while not is_so():
            await asyncio.sleep(0.01)


async def tolerated(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """What `attempt` gives, as soon as the servers it needs are back."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await attempt()
            except Unavailable:
                await asyncio.sleep(0.05)


def body_of(delivery: Delivery) -> Any:
    return json.loads(delivery.body)


def statuses(view: SagaView) -> dict[str, str]:
    return {step.name: step.status for step in view.steps}
