"""One connection with one channel in confirm mode, over the codec of this folder."""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

from pamqp import base, commands

from bench.codec import (
    FRAME_BYTES,
    Confirm,
    Decoder,
    Delivery,
    Post,
    encode,
    encode_ack,
    encode_method,
)
from messaging.rabbit_url import parse_address

Method = TypeVar("Method", bound=base.Frame)
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_ANSWER_SECONDS: Final = 10.0


class BrokenWire(Exception):
    """The broker closed the connection, refused a message or sent one back."""


class Wire(asyncio.Protocol):
    """Publishes in one write, hands over together what arrives together, confirms in order.

    `on_deliveries` gets all deliveries of one read; `on_confirmed` the number of the last
    publish up to which all are confirmed. Whatever is not as it should be ends it: see `ended`.
    """

    on_deliveries: Callable[[Sequence[Delivery]], None]
    on_confirmed: Callable[[int], None]

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.published = 0  # number of the last publish
        self.confirmed = 0  # all up to this one are
        self.on_deliveries = lambda _: None
        self.on_confirmed = lambda _: None
        self._early: set[int] = set()  # confirmed beyond a gap
        self._decoder = Decoder()
        self._transport: asyncio.Transport
        self._answers: asyncio.Queue[base.Frame] = asyncio.Queue()
        drawn = uuid.uuid4().hex[:12]
        self._message_ids = (f"{drawn}-{number}".encode() for number in itertools.count())

    @classmethod
    async def open(cls, url: str) -> "Wire":
        address = parse_address(url)
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(cls, address.host, address.port)
        wire._transport.write(_GREETING)
        await wire._answer(commands.Connection.Start)
        login = commands.Connection.StartOk(response=f"\0{address.login}\0{address.password}")
        wire._send(login, channel=0)
        tune = await wire._answer(commands.Connection.Tune)
        wire._send(commands.Connection.TuneOk(tune.channel_max, FRAME_BYTES, 0), channel=0)
        wire._send(commands.Connection.Open(address.vhost), channel=0)
        await wire._answer(commands.Connection.OpenOk)
        await wire.call(commands.Channel.Open(), commands.Channel.OpenOk)
        await wire.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        return wire

    async def call(self, method: base.Frame, expected: type[Method]) -> Method:
        """Send a method that is answered by another one."""
        self._send(method)
        return await self._answer(expected)

    async def consume(self, queue: str, *, prefetch: int, no_ack: bool = False) -> None:
        await self.call(commands.Basic.Qos(prefetch_count=prefetch), commands.Basic.QosOk)
        consume = commands.Basic.Consume(queue=queue, no_ack=no_ack)
        await self.call(consume, commands.Basic.ConsumeOk)

    def publish(self, posts: Sequence[Post]) -> int:
        """In one write; the number of the last one, confirmed when `on_confirmed` says so."""
        if posts:
            ids = self._message_ids
            self._transport.write(b"".join([encode(post, next(ids)) for post in posts]))
            self.published += len(posts)
        return self.published

    def ack(self, tag: int) -> None:
        """Everything up to this delivery."""
        self._transport.write(encode_ack(tag))

    def close(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(f"the connection to the broker was lost: {exc}")

    def data_received(self, data: bytes) -> None:
        deliveries: list[Delivery] = []
        before = self.confirmed
        for each in self._decoder.feed(data):
            if isinstance(each, Delivery):
                deliveries.append(each)
            elif isinstance(each, Confirm):
                self._confirm(each)
            else:
                self._hear(each)
        if deliveries:
            self.on_deliveries(deliveries)
        if self.confirmed > before:
            self.on_confirmed(self.confirmed)

    def _confirm(self, confirm: Confirm) -> None:
        if confirm.multiple:
            self.confirmed = max(self.confirmed, confirm.tag)
            self._early = {tag for tag in self._early if tag > self.confirmed}
        else:
            self._early.add(confirm.tag)
        while self.confirmed + 1 in self._early:
            self.confirmed += 1
            self._early.remove(self.confirmed)

    def _hear(self, method: base.Frame) -> None:
        match method:
            case commands.Basic.Return() | commands.Basic.Nack() | commands.Basic.Cancel():
                self._break(f"the broker did not take a message: {method.name} {dict(method)}")
            case commands.Channel.Close() | commands.Connection.Close():
                self._break(f"the broker closed: {method.reply_text}")
            case _:
                self._answers.put_nowait(method)

    def _break(self, problem: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(BrokenWire(problem))

    def _send(self, method: base.Frame, channel: int = 1) -> None:
        self._transport.write(encode_method(method, channel))

    async def _answer(self, expected: type[Method]) -> Method:
        getting = asyncio.ensure_future(self._answers.get())
        try:
            both: set[asyncio.Future[Any]] = {getting, self.ended}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=_ANSWER_SECONDS)
            if self.ended.done():
                self.ended.result()
            if not getting.done():
                raise BrokenWire(f"no {expected.name} in {_ANSWER_SECONDS:g} s")
            answer = getting.result()
        finally:
            getting.cancel()
        if not isinstance(answer, expected):
            raise BrokenWire(f"{answer.name} came instead of {expected.name}")
        return answer
