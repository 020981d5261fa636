"""Daemons that end on purpose: at a failpoint, or in order."""

import signal
from collections.abc import Iterable, Sequence

from chassis.failpoints import Failpoint
from tests.chaos.world import World
from tests.failpoints.successions import armed
from tests.product.installation import DRAIN_SECONDS, Daemon

PATIENCE = 60.0  # seconds until an armed daemon comes by


def die_at(world: World, daemon: Daemon, point: Failpoint, *, times: int = 1) -> None:
    """It is killed by its own hand at the n-th passage, and started again, whole."""
    for _ in range(times):
        passage = world.chance.randint(1, 4)
        _die_once(world, daemon, point, passage)
        daemon.wait_ready()


def die_at_each(world: World, daemon: Daemon, points: Iterable[Failpoint]) -> None:
    """At the first passage of each, without a pause between: what it left is met armed."""
    for point in points:
        _die_once(world, daemon, point, passage=1)


def _die_once(world: World, daemon: Daemon, point: Failpoint, passage: int) -> None:
    trap = f"{point}=kill@{passage}"
    if daemon.is_running:
        daemon.kill()
    daemon.start(**armed(trap))
    world.wait_for(
        lambda: not daemon.is_running, f"{daemon.name} comes by {point}", seconds=PATIENCE
    )
    assert daemon.exit_code == -signal.SIGKILL, f"{daemon.name} ended with {daemon.exit_code}"
    assert f"FAILPOINT REACHED: {trap}" in daemon.log_end, f"{daemon.name} has not died at {point}"
    world.play(f"{daemon.name} died at {trap}")
    daemon.start()


def told_to_stop(world: World, daemons: Sequence[Daemon]) -> None:
    """SIGTERM to all at once: each has to end well, and in time."""
    for daemon in daemons:
        world.play(f"SIGTERM to {daemon.name}")
        daemon.send(signal.SIGTERM)
    codes = {daemon.name: daemon.ended(seconds=DRAIN_SECONDS) for daemon in daemons}
    assert not any(codes.values()), f"not every daemon ended well: {codes}"
