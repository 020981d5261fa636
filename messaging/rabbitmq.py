"""The port over RabbitMQ: one supervised connection for publishing, one for consuming."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from messaging import lenient
from messaging.errors import ConfigurationError, SagaError, Unavailable
from messaging.port import Outgoing, Receipt
from messaging.rabbit_consumer import RabbitConsumer
from messaging.rabbit_fitness import fitting_connect
from messaging.rabbit_lanes import Sender
from messaging.rabbit_publisher import RabbitPublisher
from messaging.rabbit_session import Connect, Session, Supervisor
from messaging.rabbit_topology import BrokerFacts, TopologyGuard, declare, probe, verify
from messaging.rabbit_url import parse_address
from messaging.topology import Names, Topology, TopologyMode

__all__ = ["BrokerFacts", "RabbitBroker", "declare", "probe", "verify"]

CLOSE_SECONDS: Final = 5.0


class RabbitBroker:
    """A client of RabbitMQ. `on_change(up, detail)` hears of connections and of the topology."""

    def __init__(
        self,
        url: str,
        *,
        names: Names,
        topology: Topology,
        mode: TopologyMode,
        app_id: str,
        on_change: Callable[[bool, str], None] | None = None,
        publish_deadline: float = 5.0,
        connect: Connect = fitting_connect,
    ) -> None:
        self._address = parse_address(url)
        self._name = f"{names.namespace}.{app_id}"
        self._connect = connect
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._guard = TopologyGuard(topology, mode, self._report)
        self._publishing = self._supervisor("publishing", self._prepare_publishing)
        self._consuming = self._supervisor("consuming", self._prepare_consuming)
        self._publisher = RabbitPublisher(
            self._publishing,
            sender=Sender(
                app_id=app_id,
                user_id=self._address.user_id,
                on_missing=self._guard.suspect,
            ),
            deadline=publish_deadline,
        )
        self._consumers: list[RabbitConsumer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_open = False

    async def __aenter__(self) -> Self:
        lenient.install()  # for the whole process; other connections only gain by it
        lenient.self_test()
        self._is_open = True
        self._tasks.append(asyncio.create_task(self._publishing.run()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def wait_ready(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not self.is_ready() or self._guard.problem:
                    self._raise_refusal()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise Unavailable(
                f"RabbitMQ at {self._address} was not ready within {timeout:g} s: "
                f"{self._why_not_ready()}"
            ) from error

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        if not self._is_open or not messages:
            return [Receipt.UNKNOWN] * len(messages)
        return await self._publisher.publish(messages)

    async def consume(self, queue: str, *, prefetch: int, priority: int = 0) -> RabbitConsumer:
        if not self._is_open:
            raise Unavailable(f"queue {queue!r} cannot be consumed: the broker is closed")
        consumer = RabbitConsumer(queue, prefetch=prefetch, priority=priority, report=self._report)
        if not self._consumers:  # who only publishes needs one connection
            self._tasks.append(asyncio.create_task(self._consuming.run()))
        self._consumers.append(consumer)
        if self._consuming.session:
            consumer.attach(self._consuming.session)
        return consumer

    def is_ready(self) -> bool:
        session = self._publishing.session
        is_publishing = session is not None and not session.has_ended
        return is_publishing and all(
            each.is_consuming for each in self._consumers if not each.is_closed
        )

    def obstacle(self) -> str | None:
        return None if self.is_ready() else self._why_not_ready()

    async def close(self) -> None:
        self._is_open = False
        for task in self._tasks:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*self._tasks, return_exceptions=True)
        for consumer in self._consumers:
            await consumer.close()

    def _supervisor(self, role: str, prepare: Callable[[Session], Awaitable[None]]) -> Supervisor:
        return Supervisor(
            address=self._address,
            name=f"{self._name} {role}",
            connect=self._connect,
            prepare=prepare,
            report=self._report,
        )

    async def _prepare_publishing(self, session: Session) -> None:
        # A blocked connection opens no channel: then we are not ready.
        session.watch(await session.channel(confirms=True))
        await self._guard.ensure(session)
        session.spawn(self._guard.tend(session))

    async def _prepare_consuming(self, session: Session) -> None:
        await self._guard.ensure(session)
        for consumer in self._consumers:
            consumer.attach(session)

    def _raise_refusal(self) -> None:
        """What waiting will not heal, as whoever starts the program must know it."""
        problems = (self._guard.problem, self._publishing.problem, self._consuming.problem)
        for problem in problems:
            if isinstance(problem, ConfigurationError):
                raise problem

    def _why_not_ready(self) -> str:
        problems: list[SagaError | str | None] = [
            self._publishing.problem,
            self._consuming.problem,
            self._guard.problem,
        ]
        problems += [each.problem for each in self._consumers if not each.is_closed]
        told = dict.fromkeys(str(problem) for problem in problems if problem)
        return "; ".join(told) or "still connecting"

    def _report(self, up: bool, detail: str) -> None:
        self._changed.set()
        if self._on_change:
            with suppress(Exception):  # a listener must never stop a supervisor
                self._on_change(up, detail)
