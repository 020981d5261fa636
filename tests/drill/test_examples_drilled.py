"""No example breaks a rule. Every seventh run, or all with SAGA_PRODUCT_FULL=1 or `make drill`."""

import os
from importlib import import_module

import pytest

from orchestrator.testing.drill import Drill
from orchestrator.testing.drill.matrix import cells_of
from orchestrator.testing.drill.results import Verdict, results_of

EXAMPLES = {
    name: import_module(f"orchestrator.testing.drill.examples.{name}").drill
    for name in ("bank_transfer", "travel_booking", "approval", "shop_order", "order_fulfillment")
}
# The reply of a step that a person answers is not its service's own.
NOT_REACHED = {
    "Approval/a lathe/approve/crash-before-reply",
    "ShopOrder/by express/ship/undo-crash-before-reply",
}
EVERY_NTH = 1 if os.environ.get("SAGA_PRODUCT_FULL") else 7  # of the cells


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("drill", EXAMPLES.values(), ids=EXAMPLES)
async def test_no_fault_breaks_an_example(drill: Drill) -> None:
    cells = cells_of([drill])[::EVERY_NTH]
    results = [each async for each in results_of(cells)]
    broken = {each.cell.name: each.story for each in results if each.verdict is Verdict.BROKE}
    assert broken == {}
    missed = {each.cell.name for each in results if each.verdict is Verdict.NOT_REACHED}
    assert missed <= NOT_REACHED
