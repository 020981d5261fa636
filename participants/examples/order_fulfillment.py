"""The four services of the order example. Their effects are rows, stored with the reply.

`saga participants run participants.examples.order_fulfillment` runs all of them; it needs
SAGA_INBOX_URL. `examples/books.py` has the tables and proves that they balance.
"""

from collections import Counter
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Table, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession

from participants import Context, NotFound, Participant, StepFailed
from participants.examples.books import (
    INITIAL_STOCK,
    create_missing,
    inventory_reservations,
    inventory_stock,
    notifications,
    payments,
    shipments,
)
from participants.examples.trials import undergo

inventory: Final = Participant("InventoryService")
payment: Final = Participant("PaymentService")
shipping: Final = Participant("ShippingService")
notification: Final = Participant("NotificationService")

for _service in (inventory, payment, shipping, notification):
    _service.prepare(create_missing)


class Item(BaseModel):
    sku: Annotated[str, Field(min_length=1, max_length=100)]
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    price: Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Decimal(0)


class Order(BaseModel):
    """What every service takes of a saga's data."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    order_id: str
    customer_id: str = ""


class OrderWithItems(Order):
    items: Annotated[list[Item], Field(min_length=1, max_length=1000)]


class ReserveItems(OrderWithItems):
    pass


class Reservation(BaseModel):
    reservation_id: str


class ProcessPayment(OrderWithItems):
    payment_method: Any = "card"


class Payment(BaseModel):
    payment_id: str
    amount: str


class CreateShipment(Order):
    shipping_address: Any = None


class Shipment(BaseModel):
    shipment_id: str
    tracking_number: str


class Confirmation(BaseModel):
    confirmation_id: str


@inventory.action("ReserveItems")
async def reserve_items(command: ReserveItems, context: Context) -> Reservation:
    """Take the articles off the shelf, all of them or none."""
    await undergo(context)
    wanted = Counter[str]()
    for item in command.items:
        wanted[item.sku] += item.quantity
    for sku, quantity in sorted(wanted.items()):  # in one order: two orders never wait in a ring
        await _take(context.session, sku, quantity)
        await _write(context, inventory_reservations, "reserve", sku=sku, quantity=quantity)
    return Reservation(reservation_id=f"R-{context.idempotency_key}")


@inventory.compensation("ReleaseReservation")
async def release_reservation(command: Order, context: Context) -> None:
    """Put the articles back."""
    await undergo(context)
    ledger = inventory_reservations
    query = select(ledger.c.sku, ledger.c.quantity).where(
        ledger.c.saga_id == context.saga_id, ledger.c.kind == "reserve"
    )
    lines = (await context.session.execute(query.order_by(ledger.c.sku))).all()
    if not lines:
        raise NotFound(f"order {command.order_id} has no reservation")
    for sku, quantity in lines:
        more = inventory_stock.c.available + quantity
        back = update(inventory_stock).where(inventory_stock.c.sku == sku).values(available=more)
        await context.session.execute(back)
        await _write(context, ledger, "release", sku=sku, quantity=quantity)


@payment.action("ProcessPayment")
async def process_payment(command: ProcessPayment, context: Context) -> Payment:
    """Charge the sum of all items."""
    await undergo(context)
    amount = sum((item.price * item.quantity for item in command.items), Decimal(0))
    cents = int((amount * 100).to_integral_value())
    method = str(command.payment_method)
    await _write(context, payments, "charge", amount_cents=cents, method=method)
    return Payment(payment_id=f"P-{context.idempotency_key}", amount=f"{cents / 100:.2f}")


@payment.compensation("RefundPayment", batch=True)
async def refund_payment(command: Order, context: Context) -> None:
    """Pay back what was charged. In batches: it writes no row that other orders need."""
    await undergo(context)
    charged = await _own_rows(context, payments, "charge")
    if not charged:
        raise NotFound(f"order {command.order_id} was not charged")
    for row in charged:
        await _write(
            context, payments, "refund", amount_cents=row["amount_cents"], method=row["method"]
        )


@shipping.action("CreateShipment")
async def create_shipment(command: CreateShipment, context: Context) -> Shipment:
    """Hand the parcel to the carrier."""
    await undergo(context)
    if command.shipping_address in ("", [], {}):
        raise StepFailed(f"order {command.order_id} has an empty shipping_address")
    tracking_number = f"T-{context.idempotency_key}"
    await _write(context, shipments, "create", tracking_number=tracking_number)
    return Shipment(shipment_id=f"S-{context.idempotency_key}", tracking_number=tracking_number)


@shipping.compensation("CancelShipment")
async def cancel_shipment(command: Order, context: Context) -> None:
    """Call the parcel back."""
    await undergo(context)
    created = await _own_rows(context, shipments, "create")
    if not created:
        raise NotFound(f"order {command.order_id} has no shipment")
    for row in created:
        await _write(context, shipments, "cancel", tracking_number=row["tracking_number"])


@notification.action("SendOrderConfirmation")
async def send_order_confirmation(command: Order, context: Context) -> Confirmation:
    """Tell the customer that the parcel is on its way."""
    await undergo(context)
    text = f"Order {command.order_id} is confirmed."
    await _write(context, notifications, "confirmation", text=text)
    return Confirmation(confirmation_id=f"C-{context.idempotency_key}")


@notification.compensation("SendCancellationNotice")
async def send_cancellation_notice(command: Order, context: Context) -> None:
    """A mail cannot be unsent; say that it no longer holds."""
    await undergo(context)
    if not await _own_rows(context, notifications, "confirmation"):
        raise NotFound(f"order {command.order_id} was never confirmed")
    await _write(
        context, notifications, "cancellation", text=f"Order {command.order_id} is cancelled."
    )


async def _take(session: AsyncSession, sku: str, quantity: int) -> None:
    """Lower the stock, unless there is too little. An article is first seen with a full shelf."""
    dialect = session.get_bind().dialect.name
    new_row = (sqlite_insert if dialect == "sqlite" else postgres_insert)(inventory_stock)
    full = {"sku": sku, "available": INITIAL_STOCK}
    await session.execute(new_row.values(full).on_conflict_do_nothing())
    available = inventory_stock.c.available
    taken = await session.execute(
        update(inventory_stock)
        .where(inventory_stock.c.sku == sku, available >= quantity)
        .values(available=available - quantity)
        .returning(available)
    )
    if taken.one_or_none() is None:
        raise StepFailed(f"out of stock: {quantity} of {sku!r} wanted")


async def _own_rows(context: Context, ledger: Table, kind: str) -> list[dict[str, Any]]:
    query = select(ledger).where(ledger.c.saga_id == context.saga_id, ledger.c.kind == kind)
    return [dict(row) for row in (await context.session.execute(query)).mappings()]


async def _write(context: Context, ledger: Table, kind: str, **values: object) -> None:
    row = {"saga_id": context.saga_id, "kind": kind, **values}
    await context.session.execute(insert(ledger).values(row))
