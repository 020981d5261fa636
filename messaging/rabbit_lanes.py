"""One confirmed channel for publishing to one exchange: in bulk, or message by message.

RabbitMQ closes the channel of whoever publishes to a missing or forbidden exchange, and
messages to other exchanges must not suffer for it.
"""

import asyncio
import itertools
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from aio_pika.exceptions import CONNECTION_EXCEPTIONS, PublishError
from aiormq.channel import Channel
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.commands import Basic

from messaging import received, wire
from messaging.port import Outgoing, Receipt
from messaging.rabbit_session import Session, is_cancelled
from messaging.rabbit_tap import Tap

WINDOW: Final = 512  # messages in flight over one lane

_UNENCODABLE: Final = (ValueError, TypeError, OverflowError, struct.error)


@dataclass(slots=True, eq=False)
class Batch:
    """Messages on their way, with what is known of each so far."""

    messages: Sequence[Outgoing]
    moved: float = 0.0  # when the broker was last heard of, by the loop's clock
    stamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    receipts: list[Receipt] = field(init=False)

    def __post_init__(self) -> None:
        self.receipts = [Receipt.UNKNOWN] * len(self.messages)

    def by_exchange(self) -> dict[str, list[int]]:
        """The places of the messages to each exchange, in order."""
        places: dict[str, list[int]] = {}
        for place, message in enumerate(self.messages):
            places.setdefault(message.exchange, []).append(place)
        return places


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """As whom we publish, and who hears when an exchange or a binding seems to be missing."""

    app_id: str
    user_id: str | None
    on_missing: Callable[[], None]


class Lane(Protocol):
    @property
    def is_open(self) -> bool: ...

    @property
    def channel(self) -> Channel | None: ...

    async def publish(self, batch: Batch, places: Sequence[int]) -> None:
        """Publish these of the batch and note their receipts; ends when all are known or lost."""
        ...


class PlainLane:
    """Through the library's own publish: slower, and independent of its inside."""

    def __init__(self, channel: Channel, sender: Sender) -> None:
        self.channel = channel
        self._sender = sender

    @property
    def is_open(self) -> bool:
        return not self.channel.is_closed

    async def publish(self, batch: Batch, places: Sequence[int]) -> None:
        pending = iter(places)  # shared: each worker takes the next one
        workers = min(WINDOW, len(places))
        await asyncio.gather(*(self._work(batch, pending) for _ in range(workers)))

    async def _work(self, batch: Batch, pending: Iterator[int]) -> None:
        now = asyncio.get_running_loop().time
        for place in pending:
            message = batch.messages[place]
            batch.receipts[place] = await self._publish_one(message, batch.stamp)
            batch.moved = now()

    async def _publish_one(self, message: Outgoing, stamp: datetime) -> Receipt:
        try:
            await self.channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=self._properties(message, stamp),
                mandatory=message.mandatory,
                wait=False,
            )
        except PublishError:
            self._sender.on_missing()
            return Receipt.UNROUTABLE
        except ChannelNotFoundEntity:
            self._sender.on_missing()
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
            user_id=self._sender.user_id,
            app_id=self._sender.app_id,
        )


@dataclass(slots=True, eq=False)
class _Call:
    """One call of `publish`, and how many of its messages are still in flight."""

    batch: Batch
    done: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    is_all_sent: bool = False

    def settle(self, place: int, receipt: Receipt, now: float) -> None:
        """The first word on a message counts: a returned one is confirmed as well."""
        if self.batch.receipts[place] is Receipt.UNKNOWN:
            self.batch.receipts[place] = receipt
        self.batch.moved = now

    def left(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0 and self.is_all_sent:
            self.done.set()


class BulkLane:
    """A batch is one buffer and one write; confirms are a watermark. A listener of the tap."""

    def __init__(self, tap: Tap, channel: Channel, encoder: wire.Encoder, sender: Sender) -> None:
        self.channel = channel
        self._tap = tap
        self._encoder = encoder
        self._sender = sender
        self._clock = asyncio.get_running_loop()
        self._tags = itertools.count(1)
        self._in_flight: dict[int, tuple[_Call, int]] = {}  # by tag, in order
        self._room = asyncio.Event()
        self._name = f"{uuid.uuid4().hex}-"  # with the tag, the message_id
        self.is_open = True
        channel.closing.add_done_callback(self._look_for_missing)
        tap.listen(channel.number, self)

    async def publish(self, batch: Batch, places: Sequence[int]) -> None:
        call, start = _Call(batch), 0
        while start < len(places):
            if room := WINDOW - len(self._in_flight):
                self._send(call, places[start : start + room])
                start += room
                await self._drained()
            else:
                self._room.clear()
                await self._room.wait()
            if not self.is_open:
                return
        call.is_all_sent = True
        if call.in_flight:
            await call.done.wait()

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        """Nobody consumes over a lane."""

    def returned(self, header: bytes) -> None:
        message_id = received.message_id_of(header) or ""
        with suppress(ValueError):
            tag = int(message_id.removeprefix(self._name), 16)
            if found := self._in_flight.get(tag):
                call, place = found
                call.settle(place, Receipt.UNROUTABLE, self._clock.time())
                self._sender.on_missing()

    def confirmed(self, tag: int, *, multiple: bool, is_refused: bool) -> None:
        receipt = Receipt.UNKNOWN if is_refused else Receipt.CONFIRMED
        now = self._clock.time()
        if not multiple:
            self._settle(tag, receipt, now)
            return
        for each in list(itertools.takewhile(tag.__ge__, self._in_flight)):
            self._settle(each, receipt, now)

    def pause(self) -> None:
        if len(self._in_flight) < WINDOW:
            self._room.set()

    def closed(self) -> None:
        self.is_open = False
        for tag in list(self._in_flight):
            call, _ = self._in_flight.pop(tag)
            call.left()
        self._room.set()

    def _send(self, call: _Call, places: Sequence[int]) -> None:
        seconds = int(call.batch.stamp.timestamp())
        frames = []
        for place in places:
            tag = next(self._tags)
            try:
                encoded = self._encoder.publish(
                    call.batch.messages[place], message_id=f"{self._name}{tag:x}", seconds=seconds
                )
            except _UNENCODABLE:  # it cannot leave this program, now or later
                self._tags = itertools.count(tag)
                call.batch.receipts[place] = Receipt.UNROUTABLE
                continue
            frames.append(encoded)
            self._in_flight[tag] = (call, place)
            call.in_flight += 1
        self._tap.write(b"".join(frames))

    async def _drained(self) -> None:
        with suppress(OSError):  # `closed` tells
            await self._tap.drained()

    def _settle(self, tag: int, receipt: Receipt, now: float) -> None:
        if found := self._in_flight.pop(tag, None):
            call, place = found
            call.settle(place, receipt, now)
            call.left()

    def _look_for_missing(self, closing: "asyncio.Future[object]") -> None:
        if not closing.cancelled() and isinstance(closing.exception(), ChannelNotFoundEntity):
            self._sender.on_missing()


class NoLane:
    """To an exchange whose name no frame can carry."""

    is_open = True
    channel = None

    async def publish(self, batch: Batch, places: Sequence[int]) -> None:
        for place in places:
            batch.receipts[place] = Receipt.UNROUTABLE


async def open_lane(session: Session, exchange: str, sender: Sender) -> Lane:
    tap = session.tap
    if not wire.is_exchange(exchange):
        return NoLane()
    channel = await session.channel(confirms=True)
    if tap is None:
        return PlainLane(channel, sender)
    encoder = wire.Encoder(
        channel=channel.number,
        exchange=exchange,
        app_id=sender.app_id,
        user_id=sender.user_id,
        frame_max=session.frame_max,
    )
    return BulkLane(tap, channel, encoder, sender)
