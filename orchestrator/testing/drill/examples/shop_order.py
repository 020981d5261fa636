"""The shop's order, drilled: of what was taken, charged and sent, all stands or nothing does."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.examples.shop_order import ShopOrderSaga
from orchestrator.testing.drill import Drill, Scene
from orchestrator.testing.drill.examples.entries import Entries, standing
from participants.examples import shop_books
from participants.examples.shop_books import events, movements, redemptions, till
from participants.examples.shop_order import (
    download_service,
    invoice_service,
    parcel_service,
    risk_service,
    stock_service,
    till_service,
    voucher_service,
)
from participants.examples.shop_warehouse import Warehouse

# To check a risk leaves nothing behind.
STEPS: Final = {
    "take_stock": Entries(ledger=movements, done="taken", undone=("put back",)),
    "redeem_voucher": Entries(ledger=redemptions, done="redeemed", undone=("restored",)),
    "charge": Entries(ledger=till, done="charged", undone=("refunded",)),
    "ship": Entries(ledger=events, done="packed", undone=("recalled", "return received")),
    "send_download": Entries(ledger=events, done="download sent", undone=("download revoked",)),
    "issue_invoice": Entries(ledger=events, done="invoiced"),
}
LAMP: Final = {"article": "lamp", "quantity": 1, "unit_cents": 1_990, "limit_cents": 1_000_000}


async def stock(connection: AsyncConnection) -> None:
    await shop_books.stock(connection, "lamp", 50)
    await shop_books.give_voucher(connection, "V-1", 1_000)


async def ledger(connection: AsyncConnection, saga_id: str) -> Mapping[str, int]:
    found = await standing(connection, saga_id, STEPS)
    return {step: count for step, count in found.items() if count}


async def audit(engine: AsyncEngine, completed: Collection[str]) -> Sequence[str]:
    return (await shop_books.balance(engine, completed)).problems


async def send_back(scene: Scene) -> None:
    """The customer sends back what has been shipped, once that is asked for. When all is over,
    the carrier comes."""
    warehouse = Warehouse(engine=scene.engine, replies=scene.replies)
    for saga_id in await warehouse.returns():
        await warehouse.receive(saga_id)
    if scene.has_ended:
        await warehouse.hand_over()


drill: Final = Drill(
    saga=ShopOrderSaga,
    services=[
        risk_service,
        stock_service,
        voucher_service,
        till_service,
        parcel_service,
        download_service,
        invoice_service,
    ],
    inputs={
        "by the carrier": {**LAMP, "quantity": 50, "voucher": "V-1", "tax_number": "X1"},
        "by express": {**LAMP, "is_express": True, "tax_number": "X1"},
        "as a download": {**LAMP, "is_digital": True, "tax_number": "X1"},
    },
    fill=stock,
    ledger=ledger,
    audit=audit,
    people=send_back,
)
