"""Programs that only answer what comes: on the bench's own codec, or on aio-pika in batches.

They publish, wait for the confirms, then acknowledge.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage
from pamqp import decode

from bench.codec import Delivery, Post
from bench.wire import Wire

Answer = Callable[[Delivery], Iterable[Post]]
PREFETCH: Final = 500


class _Owing:
    """Acknowledges a delivery once everything published for it has been confirmed."""

    def __init__(self, wire: Wire, answer: Answer) -> None:
        self._wire = wire
        self._answer = answer
        self._owed: deque[tuple[int, int]] = deque()

    def take(self, deliveries: Sequence[Delivery]) -> None:
        posts = [post for delivery in deliveries for post in self._answer(delivery)]
        self._owed.append((self._wire.publish(posts), deliveries[-1].tag))
        if not posts:
            self.settle(self._wire.confirmed)

    def settle(self, confirmed: int) -> None:
        tag = 0
        while self._owed and self._owed[0][0] <= confirmed:
            _, tag = self._owed.popleft()
        if tag:
            self._wire.ack(tag)


async def relay_on_codec(
    url: str, queues: Sequence[str], answer: Answer, stopping: asyncio.Event
) -> None:
    wire = await Wire.open(url)
    owing = _Owing(wire, answer)
    wire.on_deliveries, wire.on_confirmed = owing.take, owing.settle
    for queue in queues:
        await wire.consume(queue, prefetch=PREFETCH)
    say_ready()
    stop = asyncio.ensure_future(stopping.wait())
    both: set[asyncio.Future[Any]] = {stop, wire.ended}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    wire.close()
    await wire.ended


async def relay_on_aio_pika(
    url: str, queues: Sequence[str], answer: Answer, stopping: asyncio.Event
) -> None:
    """Whatever has arrived is one batch: a gather of its publishes, then one multiple-ack."""
    arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    for queue in queues:
        await (await channel.get_queue(queue)).consume(arrived.put)
    say_ready()
    exchanges: dict[str, AbstractExchange] = {}
    working = asyncio.ensure_future(_answer_batches(channel, arrived, exchanges, answer))
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({stop, working}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    working.cancel()
    await connection.close()


async def _answer_batches(
    channel: aio_pika.abc.AbstractChannel,
    arrived: asyncio.Queue[AbstractIncomingMessage],
    exchanges: dict[str, AbstractExchange],
    answer: Answer,
) -> None:
    while True:
        batch = [await arrived.get()]
        while not arrived.empty() and len(batch) < PREFETCH:
            batch.append(arrived.get_nowait())
        posts = [post for message in batch for post in answer(_delivery_of(message))]
        for name in {post.exchange for post in posts} - exchanges.keys():
            exchanges[name] = await channel.get_exchange(name)
        await asyncio.gather(*(_publish(exchanges[post.exchange], post) for post in posts))
        await batch[-1].ack(multiple=True)


async def _publish(exchange: AbstractExchange, post: Post) -> None:
    message = aio_pika.Message(
        post.body,
        headers=dict(headers_of(post.headers)),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        correlation_id=post.correlation_id.decode(),
        type=post.routing_key,
    )
    await exchange.publish(message, post.routing_key, mandatory=post.is_mandatory)


def _delivery_of(message: AbstractIncomingMessage) -> Delivery:
    """Without its headers: nobody who runs on aio-pika here echoes them."""
    routing_key = (message.routing_key or "").encode()
    correlation_id = (message.correlation_id or "").encode()
    return Delivery(message.delivery_tag or 0, routing_key, correlation_id, b"", message.body)


@lru_cache(maxsize=256)
def headers_of(table: bytes) -> dict[str, Any]:
    """The same few tables come again and again: not the library's cost."""
    return decode.field_table(len(table).to_bytes(4, "big") + table)[1]


def say_ready() -> None:
    print("ready", flush=True)
