"""The pytest plugin, in a pytest of its own that finds it by its entry point."""

import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
TEST = """
import pytest
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.testing import given


@pytest.mark.asyncio
async def test_embedded(saga_kit):
    saga_kit.participant("InventoryService").fails("ReserveItems", "sold out")
    saga = await saga_kit.run(OrderFulfillmentSaga, {"order_id": "42"})
    assert saga.state == "failed"


def test_wrong():
    given(OrderFulfillmentSaga).expects("create_shipment")


@pytest.mark.asyncio
async def test_wrong_script(saga_kit):
    await saga_kit.run(OrderFulfillmentSaga)
"""


def _installed_in(folder: Path) -> None:
    """The distribution's entry points, as an installation would leave them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plugins = project["entry-points"]["pytest11"]
    lines = [f"{name} = {module}" for name, module in plugins.items()]
    metadata = folder / "countermand_as_installed-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    named = "Metadata-Version: 2.1\nName: countermand-as-installed\nVersion: 1\n"
    (metadata / "METADATA").write_text(named)


def test_the_fixture_is_an_open_kit_and_failures_are_readable(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed_in(pytester.path / "site")
    monkeypatch.setenv("PYTHONPATH", f"{pytester.path / 'site'}:{ROOT}")
    pytester.makeini(SETTINGS)
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*expected create_shipment to be sent; it has sent reserve_inventory *",
            "*reserve_inventory  pending → executing*",
            "*InventoryService.ReserveItems was asked for by step reserve_inventory, and no line*",
        ]
    )
    for frame in ("*def check_sent*", "*def seeing*", "*def until*", "*def finish*"):
        result.stdout.no_fnmatch_line(frame)
