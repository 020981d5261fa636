"""The order, drilled: fulfilled as a whole, or nothing of it is left."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.testing.drill import Drill
from orchestrator.testing.drill.examples.entries import Entries, standing
from participants.examples.books import EFFECTS, balance
from participants.examples.order_fulfillment import inventory, notification, payment, shipping

STEPS: Final = {
    step: Entries(ledger=effects.ledger, done=effects.done, undone=(effects.undone,))
    for step, effects in EFFECTS.items()
}
ORDER: Final = {
    "order_id": "42",
    "customer_id": "7",
    "items": [{"sku": "A-1", "quantity": 2, "price": 19.95}],
    "payment_method": "card",
    "shipping_address": "Mill Lane 1",
}


async def ledger(connection: AsyncConnection, saga_id: str) -> Mapping[str, int]:
    return await standing(connection, saga_id, STEPS)


async def audit(engine: AsyncEngine, completed: Collection[str]) -> Sequence[str]:
    books = await balance(engine)
    lost = [f"{each} has completed, and is not fulfilled" for each in completed]
    return [*books.problems, *(lost if not books.fulfilled >= set(completed) else ())]


drill: Final = Drill(
    saga=OrderFulfillmentSaga,
    services=[inventory, payment, shipping, notification],
    inputs={"an order": ORDER},
    ledger=ledger,
    audit=audit,
)
