"""One channel that consumes one queue: its deliveries come in bulk, or one by one."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from messaging import received, wire
from messaging.port import Delivery
from messaging.rabbit_delivery import delivery_of
from messaging.rabbit_session import CLOSE_SECONDS, RPC_SECONDS, Session, within
from messaging.rabbit_tap import Tap

Take = Callable[[Sequence[Delivery]], None]


class Feed(Protocol):
    """From `start` on, `take` gets what arrives; Unavailable if it cannot be settled."""

    @property
    def channel(self) -> Channel: ...

    async def start(self, prefetch: int, priority: int) -> None: ...

    def stop(self) -> None:
        """Hand over no more. The channel still has to be closed."""
        ...

    async def ack(self, tag: int, *, multiple: bool) -> None: ...

    async def reject(self, tag: int) -> None:
        """Back to its queue, as a failed delivery."""
        ...


class PlainFeed:
    """Through the library's own consumer: slower, and independent of its inside."""

    def __init__(self, channel: Channel, queue: str, number: int, take: Take) -> None:
        self.channel = channel
        self._queue = queue
        self._number = number
        self._take: Take | None = take

    async def start(self, prefetch: int, priority: int) -> None:
        await _qos(self.channel, prefetch)
        await _consume(self.channel, self._queue, priority, self._on_message)

    def stop(self) -> None:
        self._take = None

    async def ack(self, tag: int, *, multiple: bool) -> None:
        await within(CLOSE_SECONDS, self.channel.basic_ack(tag, multiple=multiple, wait=False))

    async def reject(self, tag: int) -> None:
        # basic.reject, not nack: from RabbitMQ 4.3 only it counts towards the delivery limit.
        await within(CLOSE_SECONDS, self.channel.basic_reject(tag, requeue=True, wait=False))

    async def _on_message(self, message: DeliveredMessage) -> None:
        if self._take:
            self._take([delivery_of(message, queue=self._queue, session=self._number)])


class BulkFeed:
    """Past the library: all that one read of the socket brings, together. A listener of a tap."""

    def __init__(self, tap: Tap, channel: Channel, queue: str, number: int, take: Take) -> None:
        self.channel = channel
        self._tap = tap
        self._queue = queue
        self._number = number
        self._take: Take | None = take
        self._arrived: list[Delivery] = []
        self._is_open = True
        tap.listen(channel.number, self)

    async def start(self, prefetch: int, priority: int) -> None:
        await _qos(self.channel, prefetch)
        await _consume(self.channel, self._queue, priority, _nothing)

    def stop(self) -> None:
        self._take = None

    async def ack(self, tag: int, *, multiple: bool) -> None:
        self._write(wire.ack(self.channel.number, tag, multiple=multiple))

    async def reject(self, tag: int) -> None:
        self._write(wire.reject(self.channel.number, tag))

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        if self._take:
            self._arrived.append(
                received.delivery_of(method, header, body, queue=self._queue, session=self._number)
            )

    def returned(self, header: bytes) -> None:
        """Nobody publishes over a feed."""

    def confirmed(self, tag: int, *, multiple: bool, is_refused: bool) -> None:
        """Nobody publishes over a feed."""

    def pause(self) -> None:
        if self._arrived and self._take:
            arrived, self._arrived = self._arrived, []
            self._take(arrived)

    def closed(self) -> None:
        self._is_open = False

    def _write(self, frames: bytes) -> None:
        if self._is_open:  # otherwise the broker has taken everything back
            self._tap.write(frames)


def feed_over(session: Session, channel: Channel, queue: str, number: int, take: Take) -> Feed:
    if session.tap:
        return BulkFeed(session.tap, channel, queue, number, take)
    return PlainFeed(channel, queue, number, take)


async def _qos(channel: Channel, prefetch: int) -> None:
    await within(RPC_SECONDS, channel.basic_qos(prefetch_count=prefetch))


async def _consume(
    channel: Channel,
    queue: str,
    priority: int,
    on_message: Callable[[DeliveredMessage], Coroutine[Any, Any, None]],
) -> None:
    arguments: dict[str, Any] | None = {"x-priority": priority} if priority else None
    consuming = channel.basic_consume(queue, on_message, arguments=arguments)
    await within(RPC_SECONDS, consuming)


async def _nothing(_: DeliveredMessage) -> None:
    """The library hears of no delivery."""
