"""A temporary listener among replies and dead letters: how a running participant is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.commands import Basic

from messaging.contract import ReplyType
from messaging.errors import NotFound
from messaging.port import Delivery, Outgoing
from messaging.rabbit_delivery import delivery_of
from messaging.rabbit_session import RPC_SECONDS, Session, within
from messaging.rabbit_topology import connected, declare_on
from messaging.topology import Names, Topology

_PERSISTENT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What a queue holds, and how many read it."""

    messages: int
    consumers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A message that somebody has published while we listened."""

    delivery: Delivery
    delivery_mode: int | None


class Probe:
    """Asks over the exchange of commands and hears what is answered, in order."""

    def __init__(self, session: Session, channel: Channel, names: Names) -> None:
        self._session = session
        self._channel = channel
        self._names = names
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()

    async def stock(self, queue: str) -> Stock | None:
        """None if there is no such queue."""
        channel = await self._session.channel()  # an error closes it
        try:
            found = await within(RPC_SECONDS, channel.queue_declare(queue, passive=True))
        except ChannelNotFoundEntity:
            return None
        finally:
            await self._session.close_channel(channel)
        return Stock(messages=found.message_count or 0, consumers=found.consumer_count or 0)

    async def declare(self, topology: Topology) -> None:
        await declare_on(self._session, topology)

    async def listen(self) -> None:
        """From now on: a queue of our own, which goes when we go, gets a copy of everything."""
        declared = await within(
            RPC_SECONDS, self._channel.queue_declare("", exclusive=True, auto_delete=True)
        )
        queue = declared.queue or ""
        for key in (*ReplyType, self._names.replies):
            await within(RPC_SECONDS, self._channel.queue_bind(queue, self._names.replies, key))
        await within(RPC_SECONDS, self._channel.queue_bind(queue, self._names.dead, "#"))
        await within(RPC_SECONDS, self._channel.basic_consume(queue, self._on_message, no_ack=True))

    async def ask(self, message: Outgoing, *, message_id: str) -> None:
        """Publish, confirmed. Raises NotFound if no queue takes it."""
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=_PERSISTENT,
            message_type=message.type,
            message_id=message_id,
            correlation_id=message.correlation_id,
            headers=dict(message.headers),
        )
        published = await within(
            RPC_SECONDS,
            self._channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=properties,
                mandatory=True,
            ),
        )
        if isinstance(published, DeliveredMessage):  # it came back
            raise NotFound(
                f"no queue takes {message.routing_key} from {message.exchange}; is the service "
                f"running with SAGA_NAMESPACE={self._names.namespace}?"
            )

    async def hear(self, timeout: float) -> Heard | None:
        """The next message; None if there is none in that time."""
        try:
            async with asyncio.timeout(timeout):
                return await self._heard.get()
        except TimeoutError:
            return None

    async def clear(self, queue: str) -> None:
        """Delete what the queue holds."""
        await within(RPC_SECONDS, self._channel.queue_purge(queue))

    async def _on_message(self, message: DeliveredMessage) -> None:
        delivery = delivery_of(message, queue="", session=0)
        mode = message.header.properties.delivery_mode
        self._heard.put_nowait(Heard(delivery=delivery, delivery_mode=mode))


@asynccontextmanager
async def probing(url: str, names: Names, name: str) -> AsyncIterator[Probe]:
    """Raises ConfigurationError or Unavailable if there is no way to the broker."""
    async with connected(url, name) as session:
        yield Probe(session, await session.channel(confirms=True), names)
