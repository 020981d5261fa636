"""Puts the corpus onto a real broker."""

from collections.abc import Iterable

import aio_pika
from aio_pika.abc import AbstractChannel

from messaging.topology import Names
from tests.corpus import Entry


def message_of(entry: Entry) -> aio_pika.Message:
    properties = {"delivery_mode": 2, **entry.properties}
    if "expiration" in properties:  # milliseconds as text on the wire, seconds in aio-pika
        properties["expiration"] = int(properties["expiration"]) / 1000
    return aio_pika.Message(entry.body, headers=dict(entry.headers), **properties)


async def publish(channel: AbstractChannel, names: Names, entries: Iterable[Entry]) -> None:
    """Publish them in order, each confirmed and routed. The channel must raise on returns."""
    for entry in entries:
        exchange, routing_key = entry.address(names)
        target = await channel.get_exchange(exchange, ensure=False)
        await target.publish(message_of(entry), routing_key)
