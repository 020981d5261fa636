"""What pytest collects of a drill: one item for each cell of the matrix."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest

from messaging.errors import SagaError
from orchestrator.testing.drill.loading import load_drills
from orchestrator.testing.drill.matrix import Cell, cells_of
from orchestrator.testing.drill.results import Judge, Result, Verdict
from orchestrator.testing.drill.workshop import Workshop


class Broke(AssertionError):
    """A run that broke a rule, as the story that explains it."""


class Bench:
    """The loop and the workshop that all items of a session share; made when first used."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._workshop = Workshop()
        self._judge: Judge | None = None

    def judged(self, cell: Cell) -> Result:
        if self._runner is None or self._judge is None:
            self._runner = asyncio.Runner()
            self._judge = Judge(self._runner.run(self._workshop.__aenter__()))
        return self._runner.run(self._judge.judged(cell))

    def close(self) -> None:
        if self._runner is not None:
            self._runner.run(self._workshop.__aexit__(None, None, None))
            self._runner.close()


class DrillItem(pytest.Item):
    """One fault at one step."""

    def __init__(self, *, cell: Cell, bench: Bench, **more: Any) -> None:
        super().__init__(**more)
        self._cell = cell
        self._bench = bench

    def runtest(self) -> None:
        result = self._bench.judged(self._cell)
        if result.verdict is Verdict.NOT_REACHED:
            pytest.skip(f"it never came to it that {self._cell.fault.told}")
        if result.verdict is Verdict.BROKE:
            raise Broke(_told(result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, Broke):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, None, f"saga drill {self._cell.name}"


def items_of(session: pytest.Session, targets: Sequence[str], bench: Bench) -> Iterator[DrillItem]:
    """Raises UsageError for modules that cannot be drilled."""
    try:
        cells = cells_of(load_drills(targets))
    except SagaError as error:
        raise pytest.UsageError(f"--saga-drill: {error}") from error
    for cell in cells:
        nodeid = f"saga-drill::{cell.name}"
        yield DrillItem.from_parent(session, name=cell.name, nodeid=nodeid, cell=cell, bench=bench)


_INDENT: Final = "  "


def _told(result: Result) -> str:
    lines = [f"{place:>3}  {line}" for place, line in enumerate(result.story, start=1)]
    mistake = result.finding.mistake.value.name if result.finding else ""
    title = f"{mistake}: {result.cell.fault.told}"
    return "\n".join([title, *(f"{_INDENT}{line}" for line in lines)])
