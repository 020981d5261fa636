"""A seed, and what comes of it."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any
from unittest.mock import patch

from tests.simulation import faults, letters, scenario
from tests.simulation.database import BEGINNING
from tests.simulation.faults import Climate
from tests.simulation.laws import breaches
from tests.simulation.loop import PROGRAM
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seed has led to."""

    seed: int
    breaches: tuple[tuple[str | None, str], ...]
    story: str  # of the sagas that broke a law; of all, if none did
    seconds: float  # of virtual time

    @property
    def report(self) -> str:
        """For people."""
        broken = "".join(f"  {saga_id or '-'}: {text}\n" for saga_id, text in self.breaches)
        return f"seed {self.seed}\n{broken}\n{self.story}"


def simulate(seed: int, *, climate: Climate | None = None, lost_commits: bool = False) -> Outcome:
    """Run the whole product under the faults that `seed` draws, and judge it."""
    chance = random.Random(seed)
    weather = climate or faults.drawn(chance, lost_commits=lost_commits)
    world = World(chance, scenario.drawn(chance), weather)
    with _in_virtual_time(world, seed):
        world.loop.run(world.run())
    found = tuple(breaches(world))
    about = {saga_id for saga_id, _ in found if saga_id}
    story = world.story.of(about) if about else world.story.whole()
    return Outcome(seed, found, story, world.loop.time())


@contextmanager
def _in_virtual_time(world: World, seed: int) -> Iterator[None]:
    """Whatever asks for time or chance is told the run's; the dlq worker's SQL is in memory."""
    clock = _clock(world)
    before = random.getstate()
    random.seed(seed)
    with ExitStack() as stack:
        for module in ("orchestrator.worker.clock", "messaging.memory_server"):
            stack.enter_context(patch(f"{module}.datetime", clock))
        for module in ("orchestrator.store", "tests.simulation"):
            stack.enter_context(patch(f"{module}.recalled.monotonic", world.loop.time))
        stack.enter_context(patch("tests.simulation.store.monotonic", world.loop.time))
        stack.enter_context(patch("dlq_worker.intake.keep", letters.keep))
        for module in ("recovery", "operations"):
            stack.enter_context(patch(f"dlq_worker.{module}.letters", letters))
            stack.enter_context(patch(f"dlq_worker.{module}.close_alert", letters.close_alert))
        stack.enter_context(patch("dlq_worker.recovery.call_person", letters.call_person))
        try:
            yield
        finally:
            random.setstate(before)


def _clock(world: World) -> type[datetime]:
    class VirtualDatetime(datetime):
        """The clock of the machine that asks."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            program = PROGRAM.get()
            error = program.clock_error if program else 0.0
            return BEGINNING + timedelta(seconds=world.loop.time() + error)

    return VirtualDatetime
