"""Somebody who listens to the outcomes of sagas."""

import json
from collections.abc import Mapping

import aio_pika

from tests.product.installation import Place

_QUORUM = {"x-queue-type": "quorum"}


async def listen(place: Place) -> None:
    """From now on, keep every event."""
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            heard_by_listeners(place), durable=True, arguments=_QUORUM
        )
        await queue.bind(place.names.events, "#")


async def outcomes_told(place: Place) -> Mapping[str, set[str]]:
    """Every outcome that was told of a saga, `completed` or `failed`, by its id."""
    told: dict[str, set[str]] = {}
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(heard_by_listeners(place), ensure=False)
        while message := await queue.get(no_ack=True, fail=False):
            for outcome in ("Completed", "Failed"):
                if (message.type or "").endswith(outcome):
                    saga_id = json.loads(message.body)["saga_id"]
                    told.setdefault(saga_id, set()).add(outcome.lower())
    return told


def heard_by_listeners(place: Place) -> str:
    """The queue that keeps the events."""
    return f"{place.namespace}.heard"
