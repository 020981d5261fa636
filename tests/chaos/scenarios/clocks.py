"""Clocks that jump: in the orchestrators, and on the database's host."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.chaos.postgres_servers import FakedClock, SkewedPostgres, fake_clock_library
from tests.chaos.scenario import Needs, left_out, scenario
from tests.chaos.world import World
from tests.product.installation import Installation
from tests.product.orders import PROMPT, Asked, mixed_orders

OFFSETS = ("+2h", "-1h", "+0")
WHY_NOT = "libfaketime is not installed (Debian's package of that name)"


def _with_faked_clocks(installation: Installation) -> None:
    """Two orchestrators and a DLQ worker, each set by a file in the installation's folder."""
    env = FakedClock(installation.folder).env
    for number in (1, 2):
        installation.orchestrator("trial_orders", name=f"orchestrator-{number}", **env)
    installation.participants(name="participants-1")
    installation.dlq_worker(SAGA_REPLAY_BASE="1s", **env)


def clock_of_orchestrators(world: World) -> None:
    clock = FakedClock(world.folder)
    with world.under_load():
        for offset in (*OFFSETS, *OFFSETS):
            world.reach_any_moment()
            world.play(f"the orchestrators' clocks say {offset}", lambda to=offset: clock.set(to))
            world.last(4)


def _in_any_end(count: int, chance: Random) -> Iterator[Asked]:
    """Where time jumps by hours, every step may be late."""
    for asked in mixed_orders(count, chance):
        yield replace(asked, ends=None) if asked.saga_type == PROMPT else asked


def clock_of_database(world: World) -> None:
    """Last it goes forwards and stays there: timers set before a step back are late by as much."""
    with world.under_load():
        for offset in ("-1h", "+0", "+2h"):
            world.reach_any_moment()
            jump = lambda to=offset: world.postgres.clock.set(to)  # noqa: E731
            world.play(f"the database's clock says {offset}", jump)
            world.last(6)


if fake_clock_library():
    scenario(
        39,
        "clock-orchestrator",
        "the wall clocks of orchestrators and DLQ worker jump by +2 h, -1 h and back, twice",
        needs=Needs(build=_with_faked_clocks),
    )(clock_of_orchestrators)
    scenario(
        40,
        "clock-database",
        "the wall clock of the database's host jumps by -1 h, back, and by +2 h",
        needs=Needs(
            postgres=SkewedPostgres, orders=_in_any_end, letters=frozenset({"late_success"})
        ),
    )(clock_of_database)
else:
    left_out(39, "clock-orchestrator", WHY_NOT)
    left_out(40, "clock-database", WHY_NOT)
