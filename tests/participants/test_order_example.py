"""The order example: real books, which balance whatever order its commands come in."""

from typing import Any

import pytest
from sqlalchemy import delete, select, update

from messaging.contract import Reply, ReplyType
from messaging.errors import ConfigurationError
from participants import Participant
from participants.examples import order_fulfillment as example
from participants.examples.books import (
    EFFECTS,
    INITIAL_STOCK,
    balance,
    inventory_stock,
    payments,
)
from participants.execution import Executor
from participants.inbox import Inbox
from participants.memory_inbox import MemoryInbox
from participants.sql_inbox import SqlInbox
from tests.conformance.inbox_fixtures import SQL_INBOXES, inbox_url_of
from tests.participants.desk import COMPENSATION, command

STEPS = {
    "reserve_inventory": ("InventoryService", "ReserveItems", "ReleaseReservation"),
    "process_payment": ("PaymentService", "ProcessPayment", "RefundPayment"),
    "create_shipment": ("ShippingService", "CreateShipment", "CancelShipment"),
    "send_confirmation": (
        "NotificationService",
        "SendOrderConfirmation",
        "SendCancellationNotice",
    ),
}
SERVICES = {
    one.name: one
    for one in (example.inventory, example.payment, example.shipping, example.notification)
}
ORDER: dict[str, Any] = {
    "order_id": "42",
    "customer_id": "c-7",
    "items": [
        {"sku": "A-1", "quantity": 2, "price": 19.99},
        {"sku": "B-2", "quantity": 1, "price": 5},
        {"sku": "A-1", "quantity": 1, "price": 19.99},
    ],
    "payment_method": "card",
    "shipping_address": "1 Main Street",
}


class Orders:
    """The four services behind one guard."""

    def __init__(self, inbox: SqlInbox) -> None:
        self.engine = inbox.engine
        self._executor = Executor(inbox)

    async def act(self, saga_id: str, step: str, attempt: int = 1, **data: Any) -> Reply:
        service, action, _ = STEPS[step]
        asked = command(
            f"{service}.{action}", saga_id, step=step, attempt=attempt, **{**ORDER, **data}
        )
        return await self._execute(SERVICES[service], asked)

    async def undo(self, saga_id: str, step: str, attempt: int = 1, **data: Any) -> Reply:
        service, _, compensation = STEPS[step]
        asked = command(
            f"{service}.{compensation}",
            saga_id,
            step=step,
            direction=COMPENSATION,
            attempt=attempt,
            **{**ORDER, **data},
        )
        return await self._execute(SERVICES[service], asked)

    async def _execute(self, service: Participant, asked: Any) -> Reply:
        answer = await self._executor.execute(asked, service.handlers[asked.name])
        assert answer.reply is not None
        return answer.reply


@pytest.fixture(params=SQL_INBOXES)
async def orders(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    url = inbox_url_of(request.param, request, tmp_path)
    assert url is not None
    inbox = SqlInbox(url)
    await inbox.prepare([each for one in SERVICES.values() for each in one.preparations])
    yield Orders(inbox)
    await inbox.close()


async def test_the_books_of_a_fulfilled_order_balance(orders: Orders) -> None:
    replies = [await orders.act("order-1", step) for step in STEPS]
    books = await balance(orders.engine)
    assert {reply.type for reply in replies} == {ReplyType.STEP_COMPLETED}
    assert books.fulfilled == {"order-1"}
    assert books.undone == frozenset()
    assert books.problems == []


async def test_results_name_what_was_done(orders: Orders) -> None:
    results = [(await orders.act("order-1", step)).result or {} for step in STEPS]
    assert [sorted(result) for result in results] == [
        ["reservation_id"],
        ["amount", "payment_id"],
        ["shipment_id", "tracking_number"],
        ["confirmation_id"],
    ]
    assert results[1]["amount"] == "64.97"


async def test_stock_goes_down_and_comes_back(orders: Orders) -> None:
    async def available() -> dict[str, int]:
        async with orders.engine.connect() as connection:
            rows = await connection.execute(select(inventory_stock))
            return {row.sku: row.available for row in rows}

    await orders.act("order-1", "reserve_inventory")
    assert await available() == {"A-1": INITIAL_STOCK - 3, "B-2": INITIAL_STOCK - 1}
    await orders.undo("order-1", "reserve_inventory")
    assert await available() == {"A-1": INITIAL_STOCK, "B-2": INITIAL_STOCK}


async def test_nothing_is_left_of_an_order_that_was_undone(orders: Orders) -> None:
    for step in STEPS:
        await orders.act("order-1", step)
    for step in reversed(STEPS):
        assert (await orders.undo("order-1", step)).type is ReplyType.COMPENSATION_COMPLETED
    books = await balance(orders.engine)
    assert books.undone == {"order-1"}
    assert books.is_balanced


async def test_repeated_commands_write_no_second_line(orders: Orders) -> None:
    for step in [*STEPS, *STEPS]:
        await orders.act("order-1", step)
    for step in [*reversed(STEPS), *STEPS]:
        await orders.undo("order-1", step)
    assert (await balance(orders.engine)).problems == []


async def test_an_order_half_done_does_not_balance(orders: Orders) -> None:
    await orders.act("order-1", "reserve_inventory")
    await orders.act("order-1", "process_payment")
    books = await balance(orders.engine)
    assert books.problems == ["saga order-1: only process_payment, reserve_inventory stands"]


async def test_an_effect_done_twice_shows(orders: Orders) -> None:
    for step in STEPS:
        await orders.act("order-1", step)
    async with orders.engine.begin() as connection:
        twice = {"saga_id": "order-1", "kind": "charge", "amount_cents": 1, "method": "card"}
        await connection.execute(payments.insert().values(twice))
    books = await balance(orders.engine)
    assert books.problems == ["saga order-1: process_payment was done 2 times and undone 0 times"]


async def test_a_lost_line_and_a_wrong_shelf_show(orders: Orders) -> None:
    for step in STEPS:
        await orders.act("order-1", step)
    async with orders.engine.begin() as connection:
        await connection.execute(delete(payments))
        await connection.execute(
            update(inventory_stock).where(inventory_stock.c.sku == "B-2").values(available=7)
        )
    problems = (await balance(orders.engine)).problems
    assert len(problems) == 2
    assert "only create_shipment, reserve_inventory, send_confirmation stands" in problems[0]
    assert problems[1] == "article B-2: 7 available, but the ledger says 999999"


async def test_what_is_out_of_stock_takes_nothing(orders: Orders) -> None:
    items = [{"sku": "A-1", "quantity": 1}, {"sku": "Z-9", "quantity": 1_000_000}]
    await orders.act("order-1", "reserve_inventory", items=items)
    reply = await orders.act("order-2", "reserve_inventory", items=items)
    assert (reply.type, reply.error) == (
        ReplyType.STEP_FAILED,
        "out of stock: 1000000 of 'Z-9' wanted",
    )
    books = await balance(orders.engine)
    assert set(books.accounts) == {"order-1"}
    assert books.stock_errors == []


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_fails_on_request_and_leaves_nothing(orders: Orders, step: str) -> None:
    reply = await orders.act("order-1", step, fail_at=step)
    assert (reply.type, reply.error) == (ReplyType.STEP_FAILED, f"{step} was asked to fail")
    assert (await balance(orders.engine)).accounts == {}


@pytest.mark.parametrize("step", STEPS)
async def test_a_compensation_fails_as_often_as_requested(orders: Orders, step: str) -> None:
    trial = {"fail_compensation": {step: 2}}
    await orders.act("order-1", step)
    types = [(await orders.undo("order-1", step, attempt, **trial)).type for attempt in (1, 2, 3)]
    assert types == [
        ReplyType.COMPENSATION_FAILED,
        ReplyType.COMPENSATION_FAILED,
        ReplyType.COMPENSATION_COMPLETED,
    ]
    assert (await balance(orders.engine)).undone == {"order-1"}


async def test_a_compensation_fails_for_ever_on_request(orders: Orders) -> None:
    await orders.act("order-1", "process_payment")
    trial = {"fail_compensation": {"process_payment": -1}}
    reply = await orders.undo("order-1", "process_payment", 1000, **trial)
    assert reply.type is ReplyType.COMPENSATION_FAILED


async def test_a_wrong_trial_key_is_a_definite_failure(orders: Orders) -> None:
    reply = await orders.act("order-1", "create_shipment", delay={"create_shipment": "soon"})
    assert reply.type is ReplyType.STEP_FAILED
    assert "the trial key 'delay.create_shipment' is wrong" in (reply.error or "")


@pytest.mark.parametrize(
    "wrong",
    [{"items": []}, {"items": [{"sku": "A-1", "quantity": 0}]}, {"order_id": None}],
    ids=repr,
)
async def test_an_order_that_makes_no_sense_is_refused(
    orders: Orders, wrong: dict[str, Any]
) -> None:
    reply = await orders.act("order-1", "reserve_inventory", **wrong)
    assert (reply.type, reply.retryable) == (ReplyType.STEP_FAILED, False)


async def test_without_a_database_the_example_says_what_it_needs() -> None:
    inbox: Inbox = MemoryInbox()
    with pytest.raises(ConfigurationError, match="set SAGA_INBOX_URL"):
        await inbox.prepare(example.inventory.preparations)


def test_the_example_and_its_books_know_the_same_steps() -> None:
    assert list(STEPS) == list(EFFECTS)
