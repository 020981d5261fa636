"""Brokers that forget to publish or to acknowledge: a crash between two steps, held open."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from messaging.port import Broker, Consumer, Delivery, Outgoing, Receipt


class ForgetfulConsumer:
    """Takes acknowledgements and never passes them on."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def receive(self, limit: int) -> Sequence[Delivery]:
        return await self._consumer.receive(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        return None

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._consumer.release(deliveries)

    async def close(self) -> None:
        await self._consumer.close()


class FaultyBroker:
    """A real broker behind one fault. Its owner opens and closes the real one."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def __aenter__(self) -> Self:
        await self._broker.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._broker.close()

    async def wait_ready(self, timeout: float) -> None:
        await self._broker.wait_ready(timeout)

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        return await self._broker.publish(messages)

    async def consume(self, queue: str, *, prefetch: int, priority: int = 0) -> Consumer:
        return await self._broker.consume(queue, prefetch=prefetch, priority=priority)

    def is_ready(self) -> bool:
        return self._broker.is_ready()

    def obstacle(self) -> str | None:
        return self._broker.obstacle()

    async def close(self) -> None:
        await self._broker.close()


class MuteBroker(FaultyBroker):
    """Publishes nothing, and says that it does not know."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.swallowed: list[Outgoing] = []

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        self.swallowed += messages
        return [Receipt.UNKNOWN] * len(messages)


class ForgetfulBroker(FaultyBroker):
    """Publishes, and never acknowledges."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.published: list[Outgoing] = []

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        receipts = await self._broker.publish(messages)
        self.published += messages
        return receipts

    async def consume(self, queue: str, *, prefetch: int, priority: int = 0) -> Consumer:
        consumer = await self._broker.consume(queue, prefetch=prefetch, priority=priority)
        return ForgetfulConsumer(consumer)
