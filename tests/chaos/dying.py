"""Daemons that die, or stand still, at a failpoint of their own code."""

from chassis.failpoints import Failpoint
from tests.chaos.world import World
from tests.failpoints.successions import armed, must_have_died_at
from tests.product.installation import Daemon

REACHED_IN = 60.0  # seconds under load until somebody comes by a failpoint


def dies_at(world: World, daemon: Daemon, *points: Failpoint) -> None:
    """It is killed, and killed again at each point in turn; then it is started whole."""
    for point in points:
        passage = world.chance.randint(1, 3)
        _start_with(world, daemon, f"{point}=kill@{passage}")
        world.wait_for(
            lambda: not daemon.is_running, f"{daemon.name} dies at {point}", seconds=REACHED_IN
        )
        must_have_died_at(daemon, point, passage)
    daemon.start()


def stands_still_at(world: World, daemon: Daemon, point: Failpoint, seconds: float) -> None:
    """It is killed, started anew, and its event loop stands still at the point."""
    trap = f"{point}=block:{seconds:g}@{world.chance.randint(1, 3)}"
    _start_with(world, daemon, trap)
    world.wait_for(
        lambda: f"FAILPOINT REACHED: {trap}" in daemon.log, f"{trap} is reached", seconds=REACHED_IN
    )
    pid = daemon.pid
    world.last(seconds)
    daemon.wait_ready()
    assert daemon.pid == pid, f"{daemon.name} was started again"


def _start_with(world: World, daemon: Daemon, trap: str) -> None:
    if daemon.is_running:
        daemon.kill()
    world.play(f"{daemon.name} starts with {trap}", lambda: daemon.start(**armed(trap)))
    if daemon in world.orchestrators:
        _let_it_be_first(world, daemon)


def _let_it_be_first(world: World, daemon: Daemon) -> None:
    """The orchestrator that began first is served first: the others begin anew, after it."""
    world.wait_for(lambda: not daemon.is_running or daemon.is_ready(), f"{daemon.name} has begun")
    for other in world.orchestrators:
        if other is not daemon and other.is_running:
            world.play(f"{other.name} stops, and begins after it", other.terminate)
            other.start()
