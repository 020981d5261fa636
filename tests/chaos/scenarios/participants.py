"""What befalls participants: killed around the commit of the guard, and before they answer."""

from chassis.failpoints import Failpoint
from tests.chaos.dying import dies_at
from tests.chaos.scenario import Needs, scenario
from tests.chaos.world import World


@scenario(
    8,
    "kill9-participant",
    "participants die before and after they commit, publish and acknowledge",
    needs=Needs(participants=2),
    short=True,
)
def at_every_boundary(world: World) -> None:
    first, second = world.participants
    with world.under_load(per_second=4):
        dies_at(world, first, Failpoint.GUARD_BEFORE_COMMIT, Failpoint.GUARD_AFTER_COMMIT)
        dies_at(
            world, second, Failpoint.PARTICIPANT_BEFORE_PUBLISH, Failpoint.PARTICIPANT_BEFORE_ACK
        )
