"""What the tests of the drill share: a workshop, and cells by their names."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from orchestrator.testing.drill import Drill
from orchestrator.testing.drill.matrix import Wanted, cells_of
from orchestrator.testing.drill.results import Judge, Result
from orchestrator.testing.drill.workshop import Workshop

Drilled = Callable[..., Awaitable[Sequence[Result]]]


@pytest.fixture
async def drilled() -> AsyncIterator[Drilled]:
    """Runs these faults at this step of a drill."""
    async with Workshop() as workshop:
        judge = Judge(workshop)

        async def results(drill: Drill, step: str, *faults: str) -> Sequence[Result]:
            cells = cells_of([drill], Wanted(steps=[step], faults=faults))
            return [await judge.judged(cell) for cell in cells]

        yield results
