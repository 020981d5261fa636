"""The broker as a customer uses it: one connection that asks, and one that listens."""

import asyncio
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage

from tests.product.customers import start_message
from tests.product.installation import Place
from tests.product.listeners import heard_by_listeners
from tests.product.orders import Asked

BOTH = "both"
_HELD = 200  # events that are not acknowledged yet
_OUTCOMES = {"OrderCompleted": "completed", "OrderFailed": "failed"}


class Post:
    """Publishes starts, confirmed and routed. After an error it connects anew."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._hang_up()

    async def start(self, orders: Sequence[Asked]) -> None:
        try:
            exchange = self._exchange or await self._connect()
            publishing = [_publish(exchange, asked) for asked in orders]
            done = await asyncio.gather(*publishing, return_exceptions=True)
            for error in filter(None, done):
                raise error
        except BaseException:
            await self._hang_up()
            raise

    async def _connect(self) -> AbstractExchange:
        self._connection = await aio_pika.connect(self._place.amqp_url, timeout=10)
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        self._exchange = await channel.get_exchange(self._place.names.starts, ensure=False)
        return self._exchange

    async def _hang_up(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            await connection.close()


async def _publish(exchange: AbstractExchange, asked: Asked) -> None:
    await exchange.publish(start_message(asked), "StartSaga", timeout=10)


class Outcomes:
    """Hears every outcome that is told; what was told before is kept for it by the queue."""

    def __init__(self, place: Place) -> None:
        self.told: dict[str, str] = {}
        self._place = place

    async def listen(self) -> None:
        """Until the connection ends, which is an OSError."""
        async with await aio_pika.connect(self._place.amqp_url, timeout=10) as connection:
            ended = asyncio.Event()
            connection.close_callbacks.add(lambda *_: ended.set())
            channel = await connection.channel()
            channel.close_callbacks.add(lambda *_: ended.set())
            await channel.set_qos(_HELD)
            queue = await channel.get_queue(heard_by_listeners(self._place), ensure=False)
            await queue.consume(self._hear)
            await ended.wait()
            raise ConnectionError("the listener's connection was closed")

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        for ending, outcome in _OUTCOMES.items():
            if (message.type or "").endswith(ending):
                saga_id = json.loads(message.body)["saga_id"]
                known = self.told.setdefault(saga_id, outcome)
                if known != outcome:
                    self.told[saga_id] = BOTH
        await message.ack()
