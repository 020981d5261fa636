"""Orders as they are played: each choice of steps, and each way to undo them."""

import asyncio
from collections.abc import Iterator
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from participants.examples import shop_books
from participants.examples.shop_warehouse import Warehouse
from participants.replies import Replies
from tests.examples.playing import SECONDS, Case, Example, Scene, books_of

SENT_BACK = "wrong tax number, parcel on its way"


async def fill(connection: AsyncConnection) -> None:
    await shop_books.stock(connection, "lamp", 1_000)
    await shop_books.stock(connection, "clock", 0)
    for voucher in ("V-0", "V-1", "V-2"):
        await shop_books.give_voucher(connection, voucher, 1_000)


def cases() -> Iterator[Case]:
    for number in range(2):
        yield _case(f"lamp-{number}", "by the carrier")
        yield _case(f"express-{number}", "by express", is_express=True)
        yield _case(f"file-{number}", "as a download", is_digital=True)
        yield _case(f"gift-{number}", "with a voucher", voucher=f"V-{number}")
        yield _case(f"many-{number}", "checked, with an invoice", quantity=50, tax_number="X1")
        back = {"voucher": "V-2"} if number == 0 else {}
        wrong = {"tax_number": "?", **back}
        yield _case(f"here-{number}", "wrong tax number, parcel here", "issue_invoice", **wrong)
        yield _case(f"away-{number}", SENT_BACK, "issue_invoice", tax_number="?", is_express=True)
        yield _case(
            f"sent-{number}", "wrong tax number, download", "issue_invoice", **_digital("?")
        )
    yield _case("huge-0", "too much", "check_risk", quantity=500)
    yield _case("none-0", "out of stock", "take_stock", article="clock")
    yield _case("spent-0", "no such voucher", "redeem_voucher", voucher="V-9")
    yield _case("poor-0", "card declined", "charge", limit_cents=100)


ERRORS = {
    "wrong tax number, parcel here": "'?' is no tax number",
    SENT_BACK: "'?' is no tax number",
    "wrong tax number, download": "'?' is no tax number",
    "too much": "9,950.00 is too much for an order without a contract",
    "out of stock": "clock is out of stock",
    "no such voucher": "voucher V-9 is unknown",
    "card declined": "the card is declined: 19.90",
}


def _digital(tax_number: str) -> dict[str, Any]:
    return {"is_digital": True, "tax_number": tax_number}


def _case(saga_id: str, kind: str, fails_at: str | None = None, **wishes: Any) -> Case:
    data = {
        "article": "lamp",
        "quantity": 1,
        "unit_cents": 1_990,
        "limit_cents": 1_000_000,
        **wishes,
    }
    error = ERRORS.get(kind, "")
    return Case(saga_id=saga_id, kind=kind, data=data, fails_at=fails_at, error=error)


async def people(scene: Scene) -> None:
    """Customers send back what had been shipped; at the end of the day the carrier comes."""
    place = scene.place
    sent_back = {case.saga_id for case in scene.cases if case.kind == SENT_BACK}
    async with (
        books_of(place) as engine,
        Replies.open(
            place.amqp_url, inbox_url=place.shop_database, namespace=place.namespace
        ) as replies,
    ):
        warehouse = Warehouse(engine=engine, replies=replies)
        async with asyncio.timeout(SECONDS):
            while set(await warehouse.returns()) != sent_back:
                await asyncio.sleep(0.05)
        await _has_not_been_refunded(scene, sent_back)
        for saga_id in sorted(sent_back):
            await warehouse.receive(saga_id)
        for case in scene.cases:
            await scene.client.wait(case.saga_id, timeout=SECONDS)
        await warehouse.hand_over()


async def _has_not_been_refunded(scene: Scene, saga_ids: set[str]) -> None:
    """No money goes back before the goods are back."""
    for saga_id in saga_ids:
        view = await scene.client.show(saga_id)
        assert view is not None
        steps = {step.name: step.status for step in view.steps}
        assert (steps["ship"], steps["charge"]) == ("compensating", "completed"), saga_id


SHOP_ORDER = Example(
    name="shop-order",
    saga_type="ShopOrder",
    module="shop_order",
    cases=tuple(cases()),
    create_missing=shop_books.create_missing,
    fill=fill,
    balance=shop_books.balance,
    people=people,
)
