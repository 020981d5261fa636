"""The services of the shop's order. What undoes a shipment depends on where the parcel is.

`saga participants run participants.examples.shop_order` runs all seven; it needs SAGA_INBOX_URL.
Carriers come and returns arrive at `shop_warehouse.py`; `shop_books.py` has the tables.
"""

from typing import Annotated, Final

from pydantic import BaseModel, Field
from sqlalchemy import insert, select, update

from participants import Context, NotFound, Participant, StepFailed
from participants.examples.accounting import money, own_rows, write
from participants.examples.shop_books import (
    RETURN_CENTS,
    create_missing,
    events,
    movements,
    parcels,
    redemptions,
    shelves,
    till,
    vouchers,
)

risk_service: Final = Participant("RiskService")
stock_service: Final = Participant("StockService")
voucher_service: Final = Participant("VoucherService")
till_service: Final = Participant("TillService")
parcel_service: Final = Participant("ParcelService")
download_service: Final = Participant("DownloadService")
invoice_service: Final = Participant("InvoiceService")

for _service in (
    risk_service,
    stock_service,
    voucher_service,
    till_service,
    parcel_service,
    download_service,
    invoice_service,
):
    _service.prepare(create_missing)

Name = Annotated[str, Field(min_length=1, max_length=100)]
Cents = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Quantity = Annotated[int, Field(strict=True, ge=1, le=10**6)]

HIGHEST_CENTS: Final = 500_000


class Articles(BaseModel):
    article: Name
    quantity: Quantity


class Goods(BaseModel):
    quantity: Quantity
    unit_cents: Cents


class RedeemVoucher(BaseModel):
    voucher: Name


class Redeemed(BaseModel):
    voucher_cents: Cents


class Bill(Goods):
    voucher_cents: Cents = 0  # the result of redeem_voucher, where there is that step
    limit_cents: Cents


class Shipment(BaseModel):
    is_express: bool = False


class Invoice(BaseModel):
    tax_number: str


@risk_service.action("Check")
async def check(command: Goods, context: Context) -> None:
    worth = command.quantity * command.unit_cents
    if worth > HIGHEST_CENTS:
        raise StepFailed(f"{money(worth)} is too much for an order without a contract")
    await write(context, events, "checked")


@stock_service.action("Take")
async def take(command: Articles, context: Context) -> None:
    available = shelves.c.available
    mine = update(shelves).where(
        shelves.c.article == command.article, available >= command.quantity
    )
    taken = await context.session.execute(
        mine.values(available=available - command.quantity).returning(available)
    )
    if taken.one_or_none() is None:
        raise StepFailed(f"{command.article} is out of stock")
    await write(context, movements, "taken", article=command.article, quantity=command.quantity)


@stock_service.compensation("PutBack")
async def put_back(command: dict[str, object], context: Context) -> None:
    rows = await own_rows(context, movements, "taken")
    if not rows:
        raise NotFound("nothing was taken from the shelf")
    for row in rows:
        mine = update(shelves).where(shelves.c.article == row["article"])
        available = shelves.c.available + row["quantity"]
        await context.session.execute(mine.values(available=available))
        same = {key: row[key] for key in ("article", "quantity")}
        await write(context, movements, "put back", **same)


@voucher_service.action("Redeem")
async def redeem(command: RedeemVoucher, context: Context) -> Redeemed:
    mine = update(vouchers).where(
        vouchers.c.voucher == command.voucher, vouchers.c.is_redeemed.is_(False)
    )
    taken = await context.session.execute(mine.values(is_redeemed=True).returning(vouchers.c.cents))
    cents = taken.scalar_one_or_none()
    if cents is None:
        raise StepFailed(f"voucher {command.voucher} is unknown, or was redeemed before")
    await write(context, redemptions, "redeemed", voucher=command.voucher)
    return Redeemed(voucher_cents=cents)


@voucher_service.compensation("Restore")
async def restore(command: dict[str, object], context: Context) -> None:
    rows = await own_rows(context, redemptions, "redeemed")
    if not rows:
        raise NotFound("no voucher was redeemed")
    for row in rows:
        mine = update(vouchers).where(vouchers.c.voucher == row["voucher"])
        await context.session.execute(mine.values(is_redeemed=False))
        await write(context, redemptions, "restored", voucher=row["voucher"])


@till_service.action("Charge")
async def charge(command: Bill, context: Context) -> None:
    cents = max(0, command.quantity * command.unit_cents - command.voucher_cents)
    if cents > command.limit_cents:
        raise StepFailed(f"the card is declined: {money(cents)} is above its limit")
    await write(context, till, "charged", cents=cents)


@till_service.compensation("Refund")
async def refund(command: dict[str, object], context: Context) -> None:
    rows = await own_rows(context, till, "charged")
    if not rows:
        raise NotFound("nothing was charged")
    for row in rows:
        await write(context, till, "refunded", cents=row["cents"])


@parcel_service.action("Ship")
async def ship(command: Shipment, context: Context) -> None:
    """Pack it. A courier takes an express parcel at once, the carrier the others later."""
    place = "away" if command.is_express else "warehouse"
    await context.session.execute(insert(parcels).values(saga_id=context.saga_id, place=place))
    await write(context, events, "packed")
    if command.is_express:
        await write(context, events, "shipped")


@parcel_service.compensation("RecallOrReturn")
async def recall_or_return(command: dict[str, object], context: Context) -> object:
    """Unpack it if it is still here. Else the customer sends it back, and that takes weeks."""
    query = select(parcels.c.place).where(parcels.c.saga_id == context.saga_id)
    place = (await context.session.execute(query.with_for_update())).scalar_one_or_none()
    if place is None:
        raise NotFound("no parcel was packed")
    if place == "away":
        await write(context, events, "return opened")
        await write(context, till, "return postage", cents=RETURN_CENTS)
        return context.later()  # the warehouse answers when it has the goods
    mine = update(parcels).where(parcels.c.saga_id == context.saga_id)
    await context.session.execute(mine.values(place="nowhere"))
    await write(context, events, "recalled")
    return None


@download_service.action("Send")
async def send(command: dict[str, object], context: Context) -> None:
    await write(context, events, "download sent")


@download_service.compensation("Revoke")
async def revoke(command: dict[str, object], context: Context) -> None:
    if not await own_rows(context, events, "download sent"):
        raise NotFound("no download was sent")
    await write(context, events, "download revoked")


@invoice_service.action("Issue")
async def issue(command: Invoice, context: Context) -> None:
    if not command.tax_number.isalnum():
        raise StepFailed(f"{command.tax_number!r} is no tax number")
    await write(context, events, "invoiced")
