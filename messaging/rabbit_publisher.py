"""Publishing to RabbitMQ: confirmed, many in flight, one receipt for each message."""

import asyncio
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, PublishError
from aiormq.channel import Channel
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.commands import Basic

from messaging.errors import Unavailable
from messaging.port import Outgoing, Receipt
from messaging.rabbit_session import Session, Supervisor, is_cancelled

WINDOW: Final = 256  # messages in flight for one call

_UNENCODABLE: Final = (ValueError, TypeError, OverflowError, struct.error)


@dataclass(slots=True, eq=False)
class _Batch:
    """Messages on their way, with what is known of each so far."""

    messages: Sequence[Outgoing]
    stamp: datetime
    moved: float = 0.0  # when the broker was last heard of, by the loop's clock
    receipts: list[Receipt] = field(init=False)
    _pending: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self.receipts = [Receipt.UNKNOWN] * len(self.messages)
        self._pending = iter(range(len(self.messages)))

    def pending(self) -> Iterator[int]:
        """Indexes not yet taken; shared by all who publish the batch."""
        return self._pending


class RabbitPublisher:
    """Publishes over one channel for each exchange.

    RabbitMQ closes the channel of whoever publishes to a missing or forbidden exchange, and
    messages to other exchanges must not suffer for it. `on_missing` hears when an exchange or
    a binding seems to be missing.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        app_id: str,
        user_id: str | None,
        deadline: float,
        on_missing: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._app_id = app_id
        self._user_id = user_id
        self._deadline = deadline
        self._on_missing = on_missing
        self._session: Session | None = None
        self._channels: dict[str, Channel] = {}
        self._opening = asyncio.Lock()

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        batch = _Batch(messages, datetime.now(UTC))
        loop = asyncio.get_running_loop()
        session = None
        try:
            async with asyncio.timeout(self._deadline):
                session = await self._supervisor.wait_session()
                batch.moved = loop.time()
                await self._pump(session, batch)
        except TimeoutError:
            if session and loop.time() - batch.moved > self._deadline / 2:
                # Silent for that long: blocked, frozen or half-open. A new connection tells.
                session.end(f"the broker confirmed nothing for {self._deadline / 2:g} s")
        return batch.receipts

    async def _pump(self, session: Session, batch: _Batch) -> None:
        channels = {}
        for exchange in {message.exchange for message in batch.messages}:
            with suppress(Unavailable, *CONNECTION_EXCEPTIONS):
                channels[exchange] = await self._channel_for(session, exchange)
        workers = min(WINDOW, len(batch.messages))
        await asyncio.gather(*(self._work(batch, channels) for _ in range(workers)))

    async def _channel_for(self, session: Session, exchange: str) -> Channel:
        async with self._opening:
            if session is not self._session:
                self._session, self._channels = session, {}
            channel = self._channels.get(exchange)
            if channel is None or channel.is_closed:
                channel = await session.channel(confirms=True)
                self._channels[exchange] = channel
            return channel

    async def _work(self, batch: _Batch, channels: dict[str, Channel]) -> None:
        now = asyncio.get_running_loop().time
        for index in batch.pending():
            message = batch.messages[index]
            channel = channels.get(message.exchange)
            if channel is not None:
                batch.receipts[index] = await self._publish_one(channel, message, batch.stamp)
                batch.moved = now()

    async def _publish_one(self, channel: Channel, message: Outgoing, stamp: datetime) -> Receipt:
        try:
            await channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=self._properties(message, stamp),
                mandatory=message.mandatory,
                wait=False,
            )
        except PublishError:
            self._on_missing()
            return Receipt.UNROUTABLE
        except ChannelNotFoundEntity:
            self._on_missing()
            return Receipt.UNKNOWN
        except CONNECTION_EXCEPTIONS:
            return Receipt.UNKNOWN
        except _UNENCODABLE:
            return Receipt.UNROUTABLE  # it cannot leave this program, now or later
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return Receipt.UNKNOWN
        return Receipt.CONFIRMED

    def _properties(self, message: Outgoing, stamp: datetime) -> Basic.Properties:
        # The message_id is new each time: the library tells returned messages apart by it.
        return Basic.Properties(
            content_type="application/json",
            delivery_mode=2,
            headers=dict(message.headers),
            correlation_id=message.correlation_id,
            message_id=str(uuid.uuid4()),
            timestamp=stamp,
            message_type=message.type,
            user_id=self._user_id,
            app_id=self._app_id,
        )
