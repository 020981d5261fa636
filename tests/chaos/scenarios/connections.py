"""What befalls the connections between the daemons and a healthy broker."""

from tests.chaos.scenario import scenario
from tests.chaos.world import World


@scenario(16, "conn-rst", "every connection is reset, every 0.02 to 1.2 s", short=True)
def reset_all(world: World) -> None:
    with world.under_load():
        for _ in range(30):
            world.last(world.chance.uniform(0.02, 1.2))
            world.broker_wire.cut()
