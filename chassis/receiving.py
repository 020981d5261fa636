"""Deliveries for a program that may be asked to stop while it waits for some."""

import asyncio
from collections.abc import Sequence

from messaging.port import Consumer, Delivery


async def received(consumer: Consumer, limit: int, stopping: asyncio.Event) -> Sequence[Delivery]:
    """What has arrived, at most `limit`; nothing once we are to stop: it goes back unsettled.

    Raises Unavailable if the consumer is closed meanwhile.
    """
    receiving = asyncio.ensure_future(consumer.receive(limit))
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({receiving, stop}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set() or not receiving.done():
            return ()
        return receiving.result()
    finally:
        stop.cancel()
        receiving.cancel()
