"""The demo itself: customers place orders, a few at a time, and all that follows is awaited."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

from messaging import codec
from messaging.contract import StartRequest
from messaging.errors import SagaError
from messaging.port import Broker, Receipt
from orchestrator.client import SagaClient
from orchestrator.demo.installation import NAMES, Databases, programs_at_work
from orchestrator.demo.orders import SAGA_TYPE, Order
from orchestrator.demo.tally import Tally

PATIENCE: Final = 30.0  # seconds without any movement
_AT_ONCE: Final = 40  # orders under way


async def run_orders(
    orders: Sequence[Order],
    databases: Databases,
    tally: Tally,
    stopping: asyncio.Event,
    *,
    patience: float = PATIENCE,
) -> None:
    """Run them all until each has ended or a person has been called for it.

    Earlier, if `stopping` is set or nothing moves any more. The programs have drained then.
    """
    stop = asyncio.ensure_future(stopping.wait())
    stop.add_done_callback(lambda _: tally.stop())
    try:
        async with programs_at_work(databases, tally.observe, tally) as broker:
            await _place_first(orders[0], databases.url, tally)
            if await tally.wait_while(lambda: tally.begun == 0, patience):
                await _place(orders[1:], broker, tally, patience)
    finally:
        stop.cancel()


async def _place_first(order: Order, database_url: str, tally: Tally) -> None:
    """Through the database, for the clock to begin it: a new worker's clock reads the backlog
    first, and stands still as long as replies keep coming."""
    async with SagaClient(database_url) as client:
        await client.start(SAGA_TYPE, order.data, saga_id=order.saga_id)
    tally.placed += 1


async def _place(orders: Sequence[Order], broker: Broker, tally: Tally, patience: float) -> None:
    """Through the broker, as fast as they are worked off."""
    waiting = iter(orders)
    while batch := list(islice(waiting, max(1, _AT_ONCE - tally.under_way))):
        await _publish(batch, broker)
        tally.placed += len(batch)
        if not await tally.wait_while(lambda: tally.under_way >= _AT_ONCE, patience):
            return
    await tally.wait_while(lambda: tally.under_way > 0, patience)


async def _publish(orders: Sequence[Order], broker: Broker) -> None:
    requests = [
        StartRequest(saga_type=SAGA_TYPE, saga_id=order.saga_id, data=order.data)
        for order in orders
    ]
    receipts = await broker.publish([codec.encode_start(NAMES, request) for request in requests])
    if any(receipt is not Receipt.CONFIRMED for receipt in receipts):
        raise SagaError("the embedded broker has not confirmed an order")
