"""Programs that only answer what comes, on Countermand's own client."""

import asyncio
from collections.abc import Sequence

from bench.codec import Delivery, Post
from bench.relays import PREFETCH, Answer, headers_of, say_ready
from messaging import port
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, Topology, TopologyMode

_READY_SECONDS = 30.0
_NOTHING = Topology(exchanges=(), queues=(), bindings=())


async def relay_on_our_client(
    url: str, queues: Sequence[str], answer: Answer, stopping: asyncio.Event
) -> None:
    """As our workers do it: publish in bulk, and acknowledge what all has been confirmed of."""
    broker = RabbitBroker(
        url, names=Names("bench"), topology=_NOTHING, mode=TopologyMode.IGNORE, app_id="null"
    )
    async with broker, asyncio.TaskGroup() as group:
        consumers = [await broker.consume(queue, prefetch=PREFETCH) for queue in queues]
        await broker.wait_ready(_READY_SECONDS)
        answering = [group.create_task(_answer(broker, each, answer)) for each in consumers]
        say_ready()
        await stopping.wait()
        for each in answering:
            each.cancel()


async def _answer(broker: port.Broker, consumer: port.Consumer, answer: Answer) -> None:
    while True:
        deliveries = await consumer.receive(PREFETCH)
        posts = [post for each in deliveries for post in answer(_plain(each))]
        receipts = await broker.publish([_outgoing(post) for post in posts])
        if set(receipts) - {port.Receipt.CONFIRMED}:
            raise RuntimeError(f"not all was confirmed: {set(receipts)}")
        await consumer.ack(deliveries)


def _plain(delivery: port.Delivery) -> Delivery:
    correlation_id = (delivery.correlation_id or "").encode()
    return Delivery(delivery.tag, delivery.routing_key.encode(), correlation_id, b"", delivery.body)


def _outgoing(post: Post) -> port.Outgoing:
    return port.Outgoing(
        exchange=post.exchange,
        routing_key=post.routing_key,
        type=post.routing_key,
        body=post.body,
        correlation_id=post.correlation_id.decode(),
        headers=headers_of(post.headers),
        mandatory=post.is_mandatory,
    )
