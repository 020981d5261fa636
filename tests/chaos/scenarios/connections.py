"""What befalls the connections between the daemons and a healthy broker."""

from tests.chaos.scenario import scenario
from tests.chaos.world import World

OUTAGE = 35.0  # seconds: longer than three heartbeats of 10 s, after which a peer counts as gone
MEGABIT = 125_000.0  # bytes per second


@scenario(16, "conn-rst", "all connections are reset, 30 times, every 0.02 to 1.2 s", short=True)
def reset_all(world: World) -> None:
    with world.under_load():
        for _ in range(30):
            world.last(world.chance.uniform(0.02, 1.2))
            world.broker_wire.cut()


@scenario(17, "half-open", f"for {OUTAGE:g} s no byte passes, and nothing is closed")
def half_open(world: World) -> None:
    with world.under_load():
        world.reach_any_moment()
        connected = world.broker_wire.accepted
        world.broker_wire.freeze()
        world.last(OUTAGE)
        assert world.broker_wire.accepted > connected, "nobody noticed, and connected anew"
        world.broker_wire.cut()


@scenario(18, "slow-link", "200 ms there and back and 1 Mbit/s, for 20 s")
def slow_link(world: World) -> None:
    with world.under_load():
        world.broker_wire.slow_down(latency=0.1, bytes_per_second=MEGABIT)
        connected = world.broker_wire.accepted
        world.last(20)
        assert world.broker_wire.accepted == connected, "a slow link was taken for a broken one"


@scenario(19, "one-way-loss", f"for {OUTAGE:g} s nothing comes from the broker; all reaches it")
def one_way(world: World) -> None:
    with world.under_load():
        world.reach_any_moment()
        connected = world.broker_wire.accepted
        world.broker_wire.freeze(to_server=False)
        world.last(OUTAGE)
        assert world.broker_wire.accepted > connected, "nobody noticed, and connected anew"
        world.broker_wire.cut()


@scenario(20, "accept-and-silent", "for 25 s connections are accepted, and nobody speaks")
def accept_and_silent(world: World) -> None:
    with world.under_load():
        world.reach_any_moment()
        world.broker_wire.freeze()
        world.broker_wire.cut()
        connected = world.broker_wire.accepted
        world.last(25)
        tries = world.broker_wire.accepted - connected
        assert 0 < tries < 100, f"{tries} connections were tried in 25 s"
