"""The demo's books are really looked into: whatever is wrong in them is found, and named."""

import asyncio
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.demo.findings import Findings, examined
from orchestrator.demo.installation import databases_in
from orchestrator.demo.orders import FULFILLED, STUBBORN, Kind, Order
from orchestrator.demo.page import page_of
from orchestrator.demo.tally import Tally
from orchestrator.demo.trial import run_orders

ORDERS = [
    Order(number=number, kind=kind)
    for number, kind in enumerate(
        (STUBBORN, FULFILLED, Kind(title="no truck", fail_at="create_shipment")), start=1
    )
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tally]:
    """Three orders that are over: one halted, one completed, one failed."""
    folder = tmp_path_factory.mktemp("finished")
    tally = Tally(len(ORDERS))
    asyncio.run(_run(folder, tally))
    return folder, tally


async def _run(folder: Path, tally: Tally) -> None:
    async with databases_in(folder) as databases:
        await run_orders(ORDERS, databases, tally, asyncio.Event())


async def _look(finished: tuple[Path, Tally], folder: Path, *statements: str) -> Findings:
    """What is found once these statements have changed a copy of the books."""
    kept, tally = finished
    for name in ("sagas.db", "books.db"):
        shutil.copy(kept / name, folder / name)
    books = sqlite3.connect(folder / "books.db")
    with books:
        for statement in statements:
            assert books.execute(statement).rowcount > 0
    books.close()
    async with databases_in(folder) as databases:
        return await examined(databases, ORDERS, tally)


async def test_books_that_nobody_has_touched_balance(
    finished: tuple[Path, Tally], tmp_path: Path
) -> None:
    findings = await _look(finished, tmp_path)
    assert findings.is_as_expected
    assert findings.books.problems == []
    assert findings.books.money.kept == ORDERS[0].cents + ORDERS[1].cents


PLANTED = {
    "DELETE FROM payments WHERE saga_id = 'order-2'": (
        "order-2 (completed): process_payment done 0 and undone 0 times, not 1 and 0"
    ),
    "DELETE FROM payments WHERE saga_id = 'order-3'": (
        "order-3 (failed): process_payment done 0 and undone 0 times, not 1 and 1"
    ),
    "DELETE FROM inventory_reservations WHERE saga_id = 'order-3' AND kind = 'release'": (
        "order-3 (failed): reserve_inventory done 1 and undone 0 times, not 1 and 1"
    ),
    "INSERT INTO shipments (saga_id, kind, tracking_number) VALUES ('order-2', 'create', 'T')": (
        "order-2 (completed): create_shipment done 2 and undone 0 times, not 1 and 0"
    ),
    "UPDATE payments SET kind = 'refund' WHERE saga_id = 'order-1'": (
        "order-1 (halted): process_payment done 0 and undone 1 times, not 1 and 0"
    ),
    "INSERT INTO notifications (saga_id, kind, text) VALUES ('stranger', 'confirmation', '')": (
        "stranger is in the books, but nobody has ordered it"
    ),
    "UPDATE inventory_stock SET available = 7 WHERE sku = 'cup'": "article cup: 7 available",
    "UPDATE payments SET amount_cents = 1 WHERE saga_id = 'order-2'": "but what stands costs",
}


@pytest.mark.parametrize(("statement", "told"), PLANTED.items(), ids=range(len(PLANTED)))
async def test_a_planted_mistake_is_found_and_named(
    finished: tuple[Path, Tally], tmp_path: Path, statement: str, told: str
) -> None:
    findings = await _look(finished, tmp_path, statement)
    assert not findings.is_as_expected
    assert not findings.books.is_balanced
    assert any(told in problem for problem in findings.books.problems), findings.books.problems
    page = page_of(findings, [], Console(width=200))
    assert "The books do not balance:" in page
    assert told in page


async def test_an_order_that_ends_otherwise_is_named_even_if_its_books_balance(
    finished: tuple[Path, Tally], tmp_path: Path
) -> None:
    kept, tally = finished
    others = [ORDERS[0], replace(ORDERS[1], kind=ORDERS[2].kind), ORDERS[2]]
    async with databases_in(kept) as databases:
        findings = await examined(databases, others, tally)
    assert findings.books.is_balanced
    assert findings.problems == ["order-2 (no truck) is completed, not failed"]
    assert not findings.is_as_expected


async def test_a_missing_dead_letter_and_a_missing_alert_are_named(
    finished: tuple[Path, Tally],
) -> None:
    kept, _ = finished
    others = [ORDERS[0], replace(ORDERS[1], kind=STUBBORN), ORDERS[2]]
    async with databases_in(kept) as databases:
        findings = await examined(databases, others, Tally(3))
    assert findings.problems == [
        "order-2 (refund never succeeds) is completed, not halted",
        "dead letters about order-2: 0, not 1",
        "alerts about order-1: 0, not 1",
        "alerts about order-2: 0, not 1",
    ]


async def test_orders_that_do_not_end_are_named_too(tmp_path: Path) -> None:
    stopping = asyncio.Event()
    stopping.set()
    tally = Tally(len(ORDERS))
    async with databases_in(tmp_path) as databases:
        await run_orders(ORDERS, databases, tally, stopping)
        findings = await examined(databases, ORDERS, tally)
    assert "order-2 (no trouble) is unfinished, not completed" in findings.problems
    page = page_of(findings, [], Console(width=200))
    assert "UNFINISHED" in page
    assert "order-2 (no trouble) is unfinished, not completed" in page


async def test_nobody_waits_for_orders_that_do_not_move(tmp_path: Path) -> None:
    slow = Order(number=1, kind=Kind(title="no trouble"))
    tally = Tally(2)
    async with databases_in(tmp_path) as databases:
        await run_orders([slow, slow], databases, tally, asyncio.Event(), patience=2.0)
    assert tally.under_way == 1  # the second order is the first one again
