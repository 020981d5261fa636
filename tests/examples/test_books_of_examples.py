"""The books of the examples notice what they are there for: effects doubled, lost, half undone."""

from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from participants.examples import approval_books, bank_books, shop_books, travel_books
from participants.sql_engine import engine_for


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(empty_database_url, 1)
    yield engine
    await engine.dispose()


async def _transfer(engine: AsyncEngine, *, credited: int) -> None:
    """Of 5.00, by hand; what arrives may be something else."""
    movements, entries, notices = bank_books.movements, bank_books.entries, bank_books.notices
    saga = {"saga_id": "one"}
    async with engine.begin() as connection:
        await bank_books.create_missing(connection)
        await bank_books.open_account(connection, "A", 500)
        await bank_books.open_account(connection, "B", 0)
        for account, kind, cents in (("A", "debit", -500), ("B", "credit", credited)):
            moved = {"kind": kind, "account": account, "amount_cents": cents}
            await connection.execute(insert(movements).values(saga | moved))
            balance = update(bank_books.accounts).where(bank_books.accounts.c.account == account)
            held = bank_books.accounts.c.balance_cents + cents
            await connection.execute(balance.values(balance_cents=held))
        entry = {"kind": "transfer", "debtor": "A", "creditor": "B", "amount_cents": 500}
        await connection.execute(insert(entries).values(saga | entry))
        notice = {"kind": "notice", "account": "B", "text": ""}
        await connection.execute(insert(notices).values(saga | notice))


async def test_a_whole_transfer_balances(engine: AsyncEngine) -> None:
    await _transfer(engine, credited=500)
    assert (await bank_books.balance(engine, ["one"])).problems == []


async def test_a_lost_cent_shows(engine: AsyncEngine) -> None:
    await _transfer(engine, credited=499)
    assert (await bank_books.balance(engine, ["one"])).problems == [
        "the accounts were opened with 5.00 and hold 4.99",
        "account B: its balance changed by 4.99, its movements say 4.99, the ledger says 5.00",
    ]


async def test_a_transfer_that_failed_and_was_not_undone_shows(engine: AsyncEngine) -> None:
    await _transfer(engine, credited=500)
    assert (await bank_books.balance(engine, [])).problems == [
        "saga one: credit 1 times, not 0",
        "saga one: debit reversed 0 times, not 1",
        "saga one: notice 1 times, not 0",
        "saga one: transfer reversed 0 times, not 1",
    ]


async def test_a_transfer_that_nobody_made_shows(engine: AsyncEngine) -> None:
    await _transfer(engine, credited=500)
    problems = (await bank_books.balance(engine, ["one", "two"])).problems
    assert problems[0] == "saga two: credit 0 times, not 1"
    assert len(problems) == 4


async def test_a_trip_paid_twice_and_a_seat_kept_show(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await travel_books.create_missing(connection)
        await travel_books.offer(connection, "F", 2, 100)
        for verb in ("reserved", "confirmed"):
            for thing in ("flight", "hotel"):
                row = {"saga_id": "one", "kind": f"{thing} {verb}", "offer": "F", "cents": 100}
                await connection.execute(insert(travel_books.bookings).values(row))
        for _ in range(2):
            row = {"saga_id": "one", "kind": "charged", "card": "C", "cents": 200}
            await connection.execute(insert(travel_books.charges).values(row))
    assert (await travel_books.balance(engine, ["one"])).problems == [
        "offer F: 0 places gone, 2 booked",
        "saga one: charged 2 times, not 1",
        "saga one: 4.00 paid, 2.00 due",
    ]


async def test_a_trip_that_failed_and_was_not_released_shows(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await travel_books.create_missing(connection)
        row = {"saga_id": "one", "kind": "hotel reserved", "offer": "H", "cents": 100}
        await connection.execute(insert(travel_books.bookings).values(row))
    assert (await travel_books.balance(engine, [])).problems == [
        "saga one: hotel released 0 times, not 1"
    ]


async def test_an_order_that_nobody_approved_and_an_open_request_show(
    engine: AsyncEngine,
) -> None:
    async with engine.begin() as connection:
        await approval_books.create_missing(connection)
        await approval_books.grant(connection, "D", 100)
        request = {"saga_id": "one", "subject": "", "cents": 60, "is_open": True}
        await connection.execute(insert(approval_books.requests).values(request))
        asked = {"saga_id": "one", "kind": "asked"}
        await connection.execute(insert(approval_books.events).values(asked))
        order = {"saga_id": "one", "kind": "ordered", "supplier": "S", "cents": 60}
        await connection.execute(insert(approval_books.orders).values(order))
    assert (await approval_books.balance(engine, ["one"])).problems == [
        "1.00 was granted, but 1.00 is free and 0.60 ordered",
        "saga one: approved 0 times, not 1",
        "saga one: set aside 0 times, not 1",
        "the request of one is still open",
    ]


async def _shop(engine: AsyncEngine, kinds: Sequence[str], **cents: int) -> None:
    """One order, by hand: events of these kinds, and the till's rows."""
    async with engine.begin() as connection:
        await shop_books.create_missing(connection)
        for kind in kinds:
            row = {"saga_id": "one", "kind": kind}
            await connection.execute(insert(shop_books.events).values(row))
        for kind, amount in cents.items():
            row = {"saga_id": "one", "kind": kind, "cents": amount}
            await connection.execute(insert(shop_books.till).values(row))


async def test_a_parcel_that_was_shipped_and_not_sent_back_shows(engine: AsyncEngine) -> None:
    await _shop(engine, ["packed", "shipped", "recalled"], charged=500, refunded=500)
    assert (await shop_books.balance(engine, [])).problems == [
        "saga one: recalled 1 times, not 0",
        "saga one: return opened 0 times, not 1",
        "saga one: return postage 0 times, not 1",
        "saga one: return received 0 times, not 1",
    ]


async def test_a_refund_of_too_much_shows(engine: AsyncEngine) -> None:
    await _shop(engine, ["packed", "recalled"], charged=500, refunded=501)
    assert (await shop_books.balance(engine, [])).problems == [
        "saga one: 5.00 charged, 5.01 refunded"
    ]


async def test_a_shelf_and_a_voucher_that_nobody_wrote_down_show(engine: AsyncEngine) -> None:
    await _shop(engine, [])
    shelves, vouchers = shop_books.shelves, shop_books.vouchers
    async with engine.begin() as connection:
        await shop_books.stock(connection, "lamp", 3)
        await shop_books.give_voucher(connection, "V", 100)
        await connection.execute(update(shelves).values(available=2))
        await connection.execute(update(vouchers).values(is_redeemed=True))
    assert (await shop_books.balance(engine, [])).problems == [
        "article lamp: 1 are gone, 0 were taken",
        "voucher V is redeemed 0 times",
    ]
