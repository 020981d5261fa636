"""Deliveries for a program that may be asked to stop while it waits for some."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from messaging.port import Consumer, Delivery

Receive = Callable[[int], Awaitable[Sequence[Delivery]]]


@asynccontextmanager
async def receiving(consumer: Consumer, stopping: asyncio.Event) -> AsyncIterator[Receive]:
    """Hands out a function that waits for deliveries, at most so many at a time.

    It gives nothing once we are to stop: what has arrived goes back unsettled. It raises
    Unavailable if the consumer is closed meanwhile. For one caller at a time.
    """
    waiting: asyncio.Timeout | None = None

    async def receive(limit: int) -> Sequence[Delivery]:
        nonlocal waiting
        if stopping.is_set():
            return ()
        try:
            async with asyncio.timeout(None) as waiting:
                return await consumer.receive(limit)
        except TimeoutError:
            return ()
        finally:
            waiting = None

    async def interrupt() -> None:
        await stopping.wait()
        if waiting is not None:
            waiting.reschedule(0)

    interrupting = asyncio.create_task(interrupt())  # one task for all calls: they are frequent
    try:
        yield receive
    finally:
        interrupting.cancel()
