"""The order without an orchestrator: four services that react to one another's events.

`saga participants run participants.examples.order_choreography` runs all of them; it needs
SAGA_INBOX_URL. `order_choreography_books.py` has their tables, and proves that they agree.
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from participants import Choreography, Emit, EventContext, StepFailed
from participants.choreography.starting import Start, Starts
from participants.examples.accounting import money
from participants.examples.order_choreography_books import (
    create_missing,
    note,
    orders,
    payments,
    reservations,
    shipments,
    stock,
)

order_service: Final = Choreography("OrderService")
inventory_service: Final = Choreography("InventoryService")
payment_service: Final = Choreography("PaymentService")
shipping_service: Final = Choreography("ShippingService")

for _service in (order_service, inventory_service, payment_service, shipping_service):
    _service.prepare(create_missing)

order_service.starts("OrderPlaced", saga_type="OrderChoreography")
order_service.ends("OrderCompleted")
order_service.ends("OrderCancelled", failed=True)

Text = Annotated[str, Field(min_length=1, max_length=100)]


class Order(BaseModel):
    sku: Text
    quantity: Annotated[int, Field(strict=True, ge=1, le=1000)]
    cents: Annotated[int, Field(strict=True, ge=0, le=10**9)]
    limit_cents: int
    address: Text


async def place_order(starts: Starts, saga_id: str, order: Order) -> bool:
    """Write the order down, and tell all others; False if that was done before."""

    async def write(session: AsyncSession) -> None:
        await note(session, orders, saga_id, "placed", cents=order.cents)

    start = Start(saga_id=saga_id, emit=Emit("OrderPlaced", order))
    return await starts.start(order_service, start, write)


@inventory_service.on("OrderPlaced", fails="InventoryRejected")
async def reserve(order: Order, context: EventContext) -> Emit:
    taken = await context.session.execute(
        update(stock)
        .where(stock.c.sku == order.sku, stock.c.available >= order.quantity)
        .values(available=stock.c.available - order.quantity)
    )
    if not taken.rowcount:  # type: ignore[attr-defined]  # of an update
        raise StepFailed(f"not enough of {order.sku} in stock")
    same = {"sku": order.sku, "quantity": order.quantity}
    await note(context.session, reservations, context.saga_id, "reserved", **same)
    return Emit("InventoryReserved", order)


@payment_service.on("InventoryReserved", fails="PaymentFailed")
async def charge(order: Order, context: EventContext) -> Emit:
    if order.cents > order.limit_cents:
        raise StepFailed(f"the card is declined: {money(order.cents)} is above its limit")
    await note(context.session, payments, context.saga_id, "charged", cents=order.cents)
    return Emit("PaymentProcessed", order)


@shipping_service.on("PaymentProcessed", fails="ShipmentFailed")
async def ship(order: Order, context: EventContext) -> Emit:
    if order.address == "nowhere":
        raise StepFailed("no carrier goes to nowhere")
    await note(context.session, shipments, context.saga_id, "shipped", address=order.address)
    return Emit("ShipmentCreated", {"address": order.address})


@order_service.on("ShipmentCreated")
async def complete(event: dict[str, Any], context: EventContext) -> Emit:
    await note(context.session, orders, context.saga_id, "completed", cents=0)
    return Emit("OrderCompleted")


@payment_service.compensates("ShipmentFailed", undoes="InventoryReserved")
async def refund(event: dict[str, Any], context: EventContext) -> Emit:
    if charged := context.original_result:
        await note(context.session, payments, context.saga_id, "refunded", cents=charged["cents"])
    return Emit("PaymentRefunded", {"error": event.get("error")})


@inventory_service.compensates("PaymentFailed", undoes="OrderPlaced")
async def release(event: dict[str, Any], context: EventContext) -> Emit:
    if reserved := context.original_result:
        same = {"sku": reserved["sku"], "quantity": reserved["quantity"]}
        back = update(stock).where(stock.c.sku == same["sku"])
        back = back.values(available=stock.c.available + same["quantity"])
        await context.session.execute(back)
        await note(context.session, reservations, context.saga_id, "released", **same)
    return Emit("InventoryReleased", {"error": event.get("error")})


@inventory_service.compensates("PaymentRefunded", undoes="OrderPlaced")
async def release_after_refund(event: dict[str, Any], context: EventContext) -> Emit:
    return await release(event, context)


@order_service.on("InventoryRejected")
async def reject(event: dict[str, Any], context: EventContext) -> Emit:
    await note(context.session, orders, context.saga_id, "cancelled", cents=0)
    return Emit("OrderCancelled", {"error": event.get("error")})


@order_service.on("InventoryReleased")
async def cancel(event: dict[str, Any], context: EventContext) -> Emit:
    return await reject(event, context)
