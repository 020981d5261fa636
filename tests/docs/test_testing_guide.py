"""The guide to testing: its blocks are one test module, and it names every verb."""

import re
from pathlib import Path

import pytest

from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.testing import (
    EmbeddedSagas,
    Scenario,
    ScenarioFailed,
    ScriptedParticipant,
    given,
)

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/testing.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
SETTINGS = """
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


def test_every_block_of_the_guide_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(SETTINGS)
    pytester.makepyfile(test_guide="\n".join(BLOCKS))
    plugins = ("-p", "pytest_asyncio.plugin", "-p", "orchestrator.testing.plugin")
    written = sum(block.count("def test_") for block in BLOCKS)
    pytester.runpytest_subprocess(*plugins).assert_outcomes(passed=written)


@pytest.mark.parametrize("kind", [Scenario, EmbeddedSagas, ScriptedParticipant])
def test_every_verb_is_in_the_guide(kind: type) -> None:
    public = {name for name in vars(kind) if not name.startswith("_")} - {"at", "name", "serve"}
    named = set(re.findall(r"(\w+)", " ".join(re.findall(r"`([^`\n]+)`", GUIDE))))
    assert public - named == set()


def test_the_failure_that_the_guide_shows_is_the_one_that_is_raised() -> None:
    [shown] = re.findall(r"^```text\nScenarioFailed: (.*?)\n```", GUIDE, re.DOTALL | re.MULTILINE)
    reserved = given(OrderFulfillmentSaga).expects("reserve_inventory").completes()
    with pytest.raises(ScenarioFailed) as caught:
        reserved.expects("create_shipment")
    assert str(caught.value) == shown
