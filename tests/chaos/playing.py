"""One scenario from its beginning to its verdict."""

import asyncio
import inspect
import shutil
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.checker import Verdict, judge
from tests.chaos.pool import ServerPool
from tests.chaos.quiet import Quiet
from tests.chaos.scenario import Scenario
from tests.chaos.stories import story_of
from tests.chaos.world import World, world_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A scenario's verdict, and for one that failed what helps to find out why."""

    scenario: Scenario
    seed: int
    verdict: Verdict
    report: str = ""


def play(scenario: Scenario, pool: ServerPool, *, seed: int, sagas: int) -> Played:
    """Play it, heal, wait, judge. The daemons' logs are kept if it failed."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{scenario.name}-", dir="/tmp"))
    report = ""
    try:
        with world_of(scenario, pool, seed=seed, sagas=sagas, folder=folder) as world:
            verdict = _verdict(world)
            if not verdict.is_clean:
                report = _report(world, seed, verdict)
    except Exception as error:  # the servers or the daemons did not even start
        trouble = "".join(traceback.format_exception(error))
        verdict = Verdict(sagas=0, faults=0, recovery_seconds=0.0, parked=0, problems=[repr(error)])
        report = f"seed {seed}, logs in {folder}\n{trouble}"
    if verdict.is_clean:
        shutil.rmtree(folder, ignore_errors=True)
    return Played(scenario=scenario, seed=seed, verdict=verdict, report=report)


def _verdict(world: World) -> Verdict:
    quiet = Quiet(world)
    try:
        outcome = world.scenario.play(world)
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)
        return judge(world, quiet, quiet.come())
    except Exception as error:
        world.faults.told("".join(traceback.format_exception(error)))
        return Verdict(
            sagas=len(world.load.asked),
            faults=world.faults.count,
            recovery_seconds=0.0,
            parked=len(quiet.parked),
            stuck=[f"{saga_id} is {state}" for saga_id, state in quiet.stuck.items()],
            problems=[f"{type(error).__name__}: {error}"],
        )


def _report(world: World, seed: int, verdict: Verdict) -> str:
    lines = [
        f"scenario {world.scenario.name}, seed {seed}, {world.sagas} sagas; logs in {world.folder}",
        *(f"  {fault}" for fault in world.faults.lines),
        *(f"  {finding}" for finding in verdict.findings[:20]),
        *(f"  {line}" for line in story_of(world.place, verdict.findings)),
        *(f"--- {each.name}:\n{each.log_end}" for each in world.installation.daemons),
    ]
    return "\n".join(lines)
