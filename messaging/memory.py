"""The embedded broker: the port in memory, with the same promises as RabbitMQ."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from messaging.arrivals import Arrivals
from messaging.errors import ConfigurationError, Unavailable
from messaging.memory_queue import Link
from messaging.memory_server import MemoryServer
from messaging.memory_wire import carried
from messaging.port import Delivery, Outgoing, Receipt
from messaging.topology import Names, Topology, TopologyMode

__all__ = ["MemoryBroker", "MemoryConsumer", "MemoryServer"]


class MemoryConsumer:
    """Deliveries of one queue of a `MemoryServer`."""

    def __init__(self, server: MemoryServer, queue: str, prefetch: int, priority: int) -> None:
        self._server = server
        self._queue = queue
        self._prefetch = prefetch
        self._priority = priority
        self._arrivals = Arrivals(queue)
        self._link: Link | None = None
        self._is_closed = False

    @property
    def is_consuming(self) -> bool:
        return self._link is not None

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    async def receive(self, limit: int) -> Sequence[Delivery]:
        return await self._arrivals.take(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        queue, link = self._server.queues.get(self._queue), self._link
        for delivery in deliveries:
            if queue and link and delivery.session == link.session:
                queue.settle(link, delivery.tag)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        queue, link = self._server.queues.get(self._queue), self._link
        if queue and link:
            queue.give_back(link, [each.tag for each in deliveries if each.session == link.session])

    async def close(self) -> None:
        self._is_closed = True
        self._arrivals.close()
        self.unlink()

    def link(self) -> None:
        """Begin a session, if there is none and the queue exists."""
        queue = self._server.queues.get(self._queue)
        if queue is None or self._link is not None or self._is_closed:
            return
        self._link = Link(self._prefetch, self._arrivals.put, self._priority)
        queue.attach(self._link)

    def unlink(self) -> None:
        """End the session: what is not settled goes back to the queue."""
        link, self._link = self._link, None
        self._arrivals.drop()
        queue = self._server.queues.get(self._queue)
        if queue and link:
            queue.detach(link)


class MemoryBroker:
    """A client of a `MemoryServer`."""

    def __init__(
        self,
        server: MemoryServer,
        *,
        names: Names,
        topology: Topology,
        mode: TopologyMode,
        app_id: str,
        on_change: Callable[[bool, str], None] | None = None,
        publish_deadline: float = 5.0,
        user_id: str | None = "guest",
    ) -> None:
        self.name = f"{names.namespace}.{app_id}"
        self._server = server
        self._topology = topology
        self._mode = mode
        self._app_id = app_id
        self._on_change = on_change
        self._publish_deadline = publish_deadline
        self._user_id = user_id
        self._consumers: list[MemoryConsumer] = []
        self._up = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_open = False
        self._drift: ConfigurationError | None = None

    async def __aenter__(self) -> Self:
        self._is_open = True
        self._server.connect(self)
        self.connection_restored()
        self._settle_topology()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def wait_ready(self, timeout: float) -> None:
        if self._drift:
            raise self._drift
        try:
            async with asyncio.timeout(timeout):
                while not self.is_ready():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise Unavailable(
                f"the embedded broker was not ready within {timeout:g} s: {self._why_not_ready()}"
            ) from error

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        try:
            if self._is_open and not self._up.is_set():
                async with asyncio.timeout(self._publish_deadline):
                    await self._up.wait()
        except TimeoutError:
            return [Receipt.UNKNOWN] * len(messages)
        receipts = [self._publish_one(message) for message in messages]
        await asyncio.sleep(0)  # let others run, as a real broker would
        return receipts

    async def consume(self, queue: str, *, prefetch: int, priority: int = 0) -> MemoryConsumer:
        if not self._is_open:
            raise Unavailable(f"queue {queue!r} cannot be consumed: the broker is closed")
        consumer = MemoryConsumer(self._server, queue, prefetch, priority)
        self._consumers.append(consumer)
        if self._up.is_set():
            consumer.link()
        return consumer

    def is_ready(self) -> bool:
        return self._up.is_set() and all(each.is_consuming for each in self._open_consumers())

    def obstacle(self) -> str | None:
        return None if self.is_ready() else self._why_not_ready()

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._server.disconnect(self)
        self._up.clear()
        for consumer in self._consumers:
            await consumer.close()

    def connection_lost(self) -> None:
        if self._up.is_set():
            self._up.clear()
            self._report(False, "the connection to the embedded broker was lost")
        for consumer in self._consumers:
            consumer.unlink()

    def connection_restored(self) -> None:
        if not self._server.is_up:
            return
        if not self._up.is_set():
            self._up.set()
            self._report(True, "connected to the embedded broker")
        for consumer in self._open_consumers():
            consumer.link()
        self._changed.set()

    def _settle_topology(self) -> None:
        """Declare or verify; a difference is kept for `wait_ready`."""
        try:
            match self._mode:
                case TopologyMode.DECLARE:
                    self._server.declare(self._topology)
                case TopologyMode.VERIFY:
                    _refuse(self._server.differences(self._topology))
                case TopologyMode.IGNORE:
                    pass
        except ConfigurationError as error:
            self._drift = error
            self._report(False, str(error))

    def _publish_one(self, message: Outgoing) -> Receipt:
        if not self._up.is_set():
            return Receipt.UNKNOWN
        read = carried(message)
        if read is None:
            return Receipt.UNROUTABLE
        delivery = Delivery(
            queue="",
            exchange=read.exchange,
            routing_key=read.routing_key,
            body=read.body,
            tag=0,
            session=0,
            type=read.type or None,
            message_id=str(uuid.uuid4()),
            correlation_id=read.correlation_id,
            content_type="application/json",
            app_id=self._app_id,
            user_id=self._user_id,
            timestamp=datetime.now(UTC).replace(microsecond=0),
            headers=dict(read.headers),
        )
        return self._server.publish(delivery, mandatory=message.mandatory)

    def _open_consumers(self) -> list[MemoryConsumer]:
        return [consumer for consumer in self._consumers if not consumer.is_closed]

    def _why_not_ready(self) -> str:
        return "a queue to consume is missing" if self._up.is_set() else "it is down"

    def _report(self, up: bool, detail: str) -> None:
        if self._on_change:
            with suppress(Exception):  # a listener must never stop a broker
                self._on_change(up, detail)


def _refuse(differences: list[str]) -> None:
    if differences:
        text = "; ".join(differences)
        raise ConfigurationError(f"{text}; see `saga topology verify`, `saga topology declare`")
