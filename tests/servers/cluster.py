"""Three RabbitMQ nodes in one cluster, each of which may be stopped, killed and cut off."""

import re
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from servers.network import is_listening, wait_until
from servers.private import ServerFailed
from servers.rabbit import PrivateRabbit

NODES = 3


class RabbitCluster:
    """A minority pauses until it is found again. `urls` are the nodes'; any of them will do."""

    def __init__(self) -> None:
        self.nodes: list[PrivateRabbit] = []

    @property
    def url(self) -> str:
        return self.nodes[0].url

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def start(self) -> None:
        """All nodes that do not run, at once, for they wait for each other. Whole on return."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.start(seconds=150), self.nodes))
        if not wait_until(self._is_whole, seconds=150):
            raise ServerFailed("the nodes of the cluster did not find each other")

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    def living(self) -> PrivateRabbit:
        """A node that serves clients."""
        return next(node for node in self.nodes if node.is_running() and is_listening(node.port))

    def rabbitmqctl(self, *arguments: str) -> str:
        return self.living().rabbitmqctl(*arguments)

    def sync_declarations(self) -> None:
        for node in self.nodes:
            node.sync_declarations()

    def leader_of(self, queue: str) -> PrivateRabbit:
        """The node where the leader of that quorum queue is."""
        said = self.rabbitmqctl("list_queues", "name", "leader")
        [name] = re.findall(rf"^{re.escape(queue)}\s+(\S+)$", said, re.MULTILINE)
        [leader] = [node for node in self.nodes if node.node_name == name]
        return leader

    def isolate(self, node: PrivateRabbit) -> None:
        """The node and the others lose sight of each other: it does not know their cookie.

        All in one go: who loses one node that another still sees pauses as well.
        """
        names = ", ".join(f"'{other.node_name}'" for other in self._others(node))
        node.rabbitmqctl(
            "eval",
            f"[erlang:set_cookie(Node, unknown) || Node <- [{names}]],"
            f"[erlang:disconnect_node(Node) || Node <- [{names}]].",
        )

    def rejoin(self, node: PrivateRabbit) -> None:
        for other in self._others(node):
            remember = f"erlang:set_cookie('{other.node_name}', erlang:get_cookie())."
            node.rabbitmqctl("eval", remember)

    def close(self) -> None:
        for node in reversed(self.nodes):
            node.close()

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self) -> None:
        first: PrivateRabbit | None = None
        for _ in range(NODES):
            node = PrivateRabbit(
                settings={"cluster_partition_handling": "pause_minority"}, beside=first
            )
            self.nodes.append(node)
            node.start()
            if first is not None:
                node.join(first)
            first = first or node
        self.start()

    def _others(self, node: PrivateRabbit) -> list[PrivateRabbit]:
        return [other for other in self.nodes if other is not node and other.is_running()]

    def _is_whole(self) -> bool:
        """All serve clients, and the first sees the others. A paused node does not listen."""
        if not all(is_listening(node.port) for node in self.nodes):
            return False
        try:
            seen = self.nodes[0].rabbitmqctl("eval", "[node() | nodes()].")
        except ServerFailed:
            return False
        return all(node.node_name in seen for node in self.nodes)
