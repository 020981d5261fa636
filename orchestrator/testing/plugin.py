"""The pytest plugin: the fixture `saga_kit`, and `--saga-drill`, an item for each cell."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

try:
    from pytest_asyncio import fixture
except ImportError:
    # anyio's plugin runs asynchronous fixtures as they are
    fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from orchestrator.testing.embedded import EmbeddedSagas

_MODULES = "saga_drill"


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "drill the sagas of this module: every fault at every step; may be given several times"
    group = parser.getgroup("countermand")
    group.addoption("--saga-drill", metavar="MODULE", action="append", default=[], help=told)
    parser.addini(_MODULES, "modules of --saga-drill, one a line", type="linelist", default=[])


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    targets = [*config.getini(_MODULES), *config.getoption("--saga-drill")]
    if targets:
        from orchestrator.testing.drill.items import Bench, items_of  # noqa: PLC0415  # it is heavy

        bench = Bench()
        config.add_cleanup(bench.close)
        cells = list(items_of(session, list(dict.fromkeys(targets)), bench))
        items.extend(cells)
        report = pytest.CollectReport("saga-drill", "passed", longrepr=None, result=[*cells])
        config.hook.pytest_collectreport(report=report)  # they count as collected


@fixture
async def saga_kit() -> AsyncIterator["EmbeddedSagas"]:
    """Orchestrator, broker, store and participants in this process, on a virtual clock."""
    from orchestrator.testing.embedded import EmbeddedSagas  # noqa: PLC0415  # only when asked for

    async with EmbeddedSagas() as kit:
        yield kit
