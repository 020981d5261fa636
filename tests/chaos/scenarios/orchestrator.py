"""What befalls orchestrators: sudden deaths, at every moment that matters, and standstill."""

import signal

from chassis.failpoints import Failpoint
from tests.chaos.deaths import die_at
from tests.chaos.scenario import scenario
from tests.chaos.world import World
from tests.failpoints.successions import armed

FROZEN = 35.0  # seconds: longer than three heartbeats of 10 s, after which a peer counts as gone
TIMES = 4
TIMER = (Failpoint.TIMER_BEFORE_COMMIT, Failpoint.TIMER_AFTER_COMMIT, Failpoint.TIMER_AFTER_PUBLISH)


@scenario(1, "kill9-orch-idle", "kill -9 of both orchestrators while nothing is to be done")
def kill_idle(world: World) -> None:
    for daemon in world.orchestrators:
        world.kill(daemon)
    world.installation.wait_ready()
    with world.under_load():
        world.reach_any_moment()


@scenario(2, "kill9-orch-before-commit", f"an orchestrator dies before its commit, {TIMES} times")
def before_commit(world: World) -> None:
    _dies(world, Failpoint.BEFORE_COMMIT)


@scenario(
    3,
    "kill9-orch-after-commit",
    f"an orchestrator dies after its commit, with nothing published, {TIMES} times",
)
def after_commit(world: World) -> None:
    _dies(world, Failpoint.AFTER_COMMIT)


@scenario(
    4,
    "kill9-orch-after-publish",
    f"an orchestrator dies when its commands are published, unrecorded, {TIMES} times",
)
def after_publish(world: World) -> None:
    _dies(world, Failpoint.AFTER_PUBLISH)


@scenario(
    5, "kill9-orch-before-ack", f"an orchestrator dies before it settles a reply, {TIMES} times"
)
def before_ack(world: World) -> None:
    _dies(world, Failpoint.BEFORE_ACK)


@scenario(
    6, "kill9-orch-in-timer", "an orchestrator dies on its round, at each of three moments, twice"
)
def in_timer(world: World) -> None:
    with world.under_load():
        for point in (*TIMER, *TIMER):
            die_at(world, world.chance.choice(world.orchestrators), point)


@scenario(7, "crash-loop", "kill -9 of both orchestrators every 1.5 s, 12 times")
def crash_loop(world: World) -> None:
    with world.under_load():
        for _ in range(12):
            world.last(1.5)
            for daemon in world.orchestrators:
                world.kill(daemon)


@scenario(41, "monotonic-pause", f"SIGSTOP of an orchestrator for {FROZEN:g} s, then SIGCONT")
def frozen(world: World) -> None:
    daemon = world.orchestrators[0]
    with world.under_load():
        world.reach_any_moment()
        world.play(f"SIGSTOP of {daemon.name}", lambda: daemon.send(signal.SIGSTOP))
        world.last(FROZEN)
        connected = world.broker_wire.accepted
        world.mend(f"SIGCONT of {daemon.name}", lambda: daemon.send(signal.SIGCONT))
        world.wait_for(lambda: world.broker_wire.accepted > connected, "it has connected anew")


@scenario(
    42,
    "loop-blocked",
    f"the event loops of an orchestrator and of all services stand still for {FROZEN:g} s",
)
def loop_blocked(world: World) -> None:
    traps = {
        world.orchestrators[0]: f"{Failpoint.BEFORE_COMMIT}=block:{FROZEN:g}@5",
        world.participants[0]: f"{Failpoint.GUARD_BEFORE_COMMIT}=block:{FROZEN:g}@5",
    }
    for daemon, trap in traps.items():
        daemon.kill()
        daemon.start(**armed(trap))
    with world.under_load():
        for daemon, trap in traps.items():
            world.wait_for(lambda each=daemon: "FAILPOINT REACHED" in each.log, "it stands still")
            world.play(f"{daemon.name}: {trap}")
        connected = world.broker_wire.accepted
        world.last(FROZEN)
        world.wait_for(lambda: world.broker_wire.accepted > connected, "they have connected anew")


def _dies(world: World, point: Failpoint) -> None:
    with world.under_load():
        for _ in range(TIMES):
            die_at(world, world.chance.choice(world.orchestrators), point)
