"""What befalls the nodes of a cluster, behind an address that leads to whoever answers."""

from typing import Any

from servers.cluster import RabbitCluster

from tests.chaos.faults import FaultLog
from tests.chaos.scenario import Needs, scenario
from tests.chaos.wires import Wire, WireRoom
from tests.chaos.world import World


class BalancedCluster(RabbitCluster):
    """Three nodes behind one address: new connections go to the first node that accepts them."""

    def _begin(self) -> None:
        super()._begin()
        self._room = WireRoom()
        self._balancer = Wire(self._room, "balancer", self.nodes[0].url, FaultLog())
        self._balancer.lead_to(*self.urls)

    @property
    def url(self) -> str:
        return self._balancer.url(self.nodes[0].url)

    def close(self) -> None:
        super().close()
        if room := getattr(self, "_room", None):
            self._balancer.close()
            room.close()


CLUSTER = Needs(rabbit=BalancedCluster, shares_rabbit=True, still_seconds=120.0)


@scenario(12, "rabbit-rolling-restart", "three nodes are restarted, one by one", needs=CLUSTER)
def rolling_restart(world: World) -> None:
    with world.under_load():
        for number, node in enumerate(world.rabbit.nodes, start=1):
            world.reach_any_moment()
            world.play(f"node {number} stops", node.stop)
            world.mend(f"node {number} starts", world.rabbit.start)


@scenario(13, "quorum-leader-kill", "kill -9 of the leader of the replies, twice", needs=CLUSTER)
def kill_leader(world: World) -> None:
    world.rabbit.sync_declarations()
    with world.under_load():
        for _ in range(2):
            world.reach_any_moment()
            leader = world.rabbit.leader_of(world.place.names.replies)
            world.play(f"kill -9 of {leader.node_name}", leader.kill)
            world.last(6)
            world.mend(f"{leader.node_name} starts", world.rabbit.start)


@scenario(14, "quorum-minority", "kill -9 of two of three nodes, for 10 s", needs=CLUSTER)
def minority(world: World) -> None:
    world.rabbit.sync_declarations()
    with world.under_load():
        world.reach_any_moment()
        for node in world.chance.sample(world.rabbit.nodes, 2):
            world.play(f"kill -9 of {node.node_name}", node.kill)
        world.last(10)
        world.mend("all nodes start", world.rabbit.start)


@scenario(15, "rabbit-partition", "two of three nodes in turn are cut off for 10 s", needs=CLUSTER)
def partition(world: World) -> None:
    with world.under_load():
        for node in world.chance.sample(world.rabbit.nodes, 2):
            world.reach_any_moment()
            cut_off(world, node)


def cut_off(world: World, node: Any) -> None:
    world.play(f"{node.node_name} is cut off", lambda: world.rabbit.isolate(node))
    try:
        world.last(10)
    finally:
        world.mend(f"{node.node_name} is back", lambda: world.rabbit.rejoin(node))
        world.rabbit.start()
