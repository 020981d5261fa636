"""What befalls orchestrators: killed at every boundary, again and again, paused, blocked."""

import signal

from chassis.failpoints import Failpoint
from tests.chaos.dying import dies_at, stands_still_at
from tests.chaos.scenario import Needs, scenario
from tests.chaos.world import World
from tests.failpoints.successions import armed
from tests.product import audit

PAUSE = 40.0  # seconds: longer than the broker waits for a peer that says nothing
BLOCK = 25.0
MOST_DEATHS = 80


@scenario(1, "kill9-orch-idle", "kill -9 of all orchestrators while nothing is under way")
def idle(world: World) -> None:
    world.load.begin(world.sagas // 2)
    ids = [each.saga_id for each in world.load.asked]
    audit.Progress(world.place).wait_until_ended(ids, seconds=world.needs.still_seconds)
    for daemon in world.orchestrators:
        world.kill(daemon)
    world.load.begin(world.sagas // 2)


@scenario(2, "kill9-orch-before-commit", "orchestrators die before they commit", short=True)
def before_commit(world: World) -> None:
    each_dies_at(world, Failpoint.BEFORE_COMMIT)


@scenario(3, "kill9-orch-after-commit", "orchestrators die with nothing published")
def after_commit(world: World) -> None:
    each_dies_at(world, Failpoint.AFTER_COMMIT)


@scenario(4, "kill9-orch-after-publish", "orchestrators die when commands are confirmed")
def after_publish(world: World) -> None:
    each_dies_at(world, Failpoint.AFTER_PUBLISH)


@scenario(5, "kill9-orch-before-ack", "orchestrators die before they acknowledge")
def before_ack(world: World) -> None:
    each_dies_at(world, Failpoint.BEFORE_ACK)


@scenario(6, "kill9-orch-in-timer", "orchestrators die before, in and after a timer's work")
def in_timer(world: World) -> None:
    with world.under_load(per_second=4):
        first, second = world.orchestrators
        dies_at(world, first, Failpoint.TIMER_BEFORE_COMMIT, Failpoint.TIMER_AFTER_COMMIT)
        dies_at(world, second, Failpoint.TIMER_AFTER_PUBLISH, Failpoint.TIMER_AFTER_COMMIT)


def each_dies_at(world: World, point: Failpoint) -> None:
    """One after the other, and then the first again."""
    with world.under_load(per_second=4):
        first, second = world.orchestrators
        for daemon in (first, second, first):
            dies_at(world, daemon, point)


@scenario(7, "crash-loop", "all orchestrators die at every batch, until messages are given up")
def crash_loop(world: World) -> None:
    """Innocent messages run into the delivery limit, and come back by themselves."""
    trap = armed(f"{Failpoint.BEFORE_COMMIT}=kill")
    world.load.begin(world.sagas)
    for daemon in world.orchestrators:
        world.play(f"{daemon.name} dies", daemon.kill)
    deaths = 0
    while not has_given_up(world):
        for daemon in world.orchestrators:
            if not daemon.is_running:
                assert deaths < MOST_DEATHS, "no message was given up"
                deaths += 1
                world.play(f"{daemon.name} starts, to die", lambda each=daemon: each.start(**trap))
        world.last(0.1)
    for daemon in world.orchestrators:
        if daemon.is_running:
            daemon.kill()
        world.mend(f"{daemon.name} starts", daemon.start)


def has_given_up(world: World) -> bool:
    return any(row["reason"] == "delivery_limit" for row in audit.letters(world.place))


@scenario(41, "monotonic-pause", f"an orchestrator is frozen for {PAUSE:g} s, and goes on")
def pause(world: World) -> None:
    frozen = world.orchestrators[0]
    with world.under_load(per_second=3):
        world.reach_any_moment()
        world.play(f"SIGSTOP {frozen.name}", lambda: frozen.send(signal.SIGSTOP))
        world.last(PAUSE)
        world.mend(f"SIGCONT {frozen.name}", lambda: frozen.send(signal.SIGCONT))
        world.reach_any_moment()
    pid = frozen.pid
    frozen.wait_ready()
    assert frozen.pid == pid, "it was started again"


@scenario(
    42,
    "loop-blocked",
    f"the event loop stands still for {BLOCK:g} s before a commit, and when all is published",
    needs=Needs(participants=2),
)
def blocked(world: World) -> None:
    first, second = world.orchestrators
    with world.under_load(per_second=3):
        stands_still_at(world, first, Failpoint.BEFORE_COMMIT, BLOCK)
        stands_still_at(world, second, Failpoint.BEFORE_ACK, BLOCK)
