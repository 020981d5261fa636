"""Those who ask for sagas: over the database, and over AMQP."""

import json
from collections.abc import Iterable, Sequence

import aio_pika

from messaging.topology import Names
from orchestrator import SagaClient
from tests.product.installation import Place
from tests.product.orders import Asked


async def start_all(place: Place, orders: Sequence[Asked]) -> None:
    """Half of them by the client, half by a message."""
    await start_by_client(place, orders[::2])
    await start_by_message(place, orders[1::2])


async def start_by_client(place: Place, orders: Iterable[Asked]) -> None:
    async with SagaClient(place.saga_database) as client:
        for asked in orders:
            await client.start(asked.saga_type, asked.data, saga_id=asked.saga_id)


async def start_by_message(place: Place, orders: Iterable[Asked]) -> None:
    await publish(place, place.names.starts, "StartSaga", [*map(start_message, orders)])


def start_message(asked: Asked) -> aio_pika.Message:
    wanted = {"saga_type": asked.saga_type, "saga_id": asked.saga_id, "data": asked.data}
    return aio_pika.Message(
        json.dumps(wanted).encode(),
        content_type="application/json",
        delivery_mode=2,
        type="StartSaga",
        message_id=f"start-{asked.saga_id}",
    )


async def post_nonsense(place: Place, message_ids: Sequence[str]) -> None:
    """Replies that no orchestrator can make sense of."""
    messages = [
        aio_pika.Message(b"{nonsense", type="SagaStepCompleted", delivery_mode=2, message_id=each)
        for each in message_ids
    ]
    await publish(place, Names(place.namespace).replies, "SagaStepCompleted", messages)


async def publish(
    place: Place, exchange: str, routing_key: str, messages: Sequence[aio_pika.Message]
) -> None:
    """All of them, each confirmed and routed."""
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        target = await channel.get_exchange(exchange, ensure=False)
        for message in messages:
            await target.publish(message, routing_key)
