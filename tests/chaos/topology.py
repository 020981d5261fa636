"""What somebody with all permissions may do to queues, bindings and exchanges."""

import asyncio
from collections.abc import Awaitable, Callable

import aio_pika
from aio_pika.abc import AbstractChannel

from messaging.contract import ReplyType
from tests.product.installation import Place

Work = Callable[[AbstractChannel], Awaitable[object]]


def delete_queue(place: Place, queue: str) -> None:
    """With everything in it."""
    _do(place, lambda channel: channel.queue_delete(queue))


def delete_exchange(place: Place, exchange: str) -> None:
    """With its bindings."""
    _do(place, lambda channel: channel.exchange_delete(exchange))


def unbind(place: Place, queue: str, exchange: str, key: str) -> None:
    async def work(channel: AbstractChannel) -> None:
        declared = await channel.get_queue(queue, ensure=False)
        await declared.unbind(exchange, key)

    _do(place, work)


def rebound(place: Place, queue: str, exchange: str, key: str) -> None:
    async def work(channel: AbstractChannel) -> None:
        declared = await channel.get_queue(queue, ensure=False)
        await declared.bind(exchange, key)

    _do(place, work)


def drifted_queue(place: Place, queue: str) -> None:
    """Delete it and make it anew, bound as it was, but without limits and dead-lettering."""

    async def work(channel: AbstractChannel) -> None:
        await channel.queue_delete(queue)
        made = await channel.declare_queue(
            queue, durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 100_000}
        )
        names = place.names
        if queue == names.replies:
            for kind in ReplyType:
                await made.bind(names.replies, kind)
        else:
            await made.bind(names.commands, f"{queue.rpartition('.')[2]}.*")

    _do(place, work)


def _do(place: Place, work: Work) -> None:
    async def done() -> None:
        async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
            await work(await connection.channel())

    asyncio.run(done())
