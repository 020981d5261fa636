"""The embedded broker's server side: exchanges, queues, routing, and faults for trials.

Its state is the process's: whoever opens `memory://name` twice meets itself. One event loop
at a time.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from messaging.errors import ConfigurationError
from messaging.memory_queue import MemoryQueue
from messaging.port import Delivery, Receipt
from messaging.topology import Binding, Exchange, Queue, Topology, declared_arguments

_MAJOR = 3  # it counts deliveries like RabbitMQ 3


class MemoryClient(Protocol):
    """What the server tells its clients."""

    def connection_lost(self) -> None: ...

    def connection_restored(self) -> None: ...


class MemoryServer:
    """Exchanges, queues and connected clients."""

    def __init__(self) -> None:
        self.is_up = True
        self.queues: dict[str, MemoryQueue] = {}
        self._exchanges: dict[str, str] = {}
        self._bindings: dict[str, list[Binding]] = {}
        self._clients: list[MemoryClient] = []
        self._homeless: list[Delivery] = []  # dead letters that no queue is bound for
        self._refusals = 0
        self._keeps_refused = False

    def declare(self, topology: Topology) -> None:
        """Create what is missing. ConfigurationError if something is there but different."""
        if different := [text for text in self.differences(topology) if "differs" in text]:
            raise ConfigurationError("; ".join(different))
        for exchange in topology.exchanges:
            self._exchanges.setdefault(exchange.name, exchange.type)
        for queue in topology.queues:
            if queue.name not in self.queues:
                arguments = declared_arguments(queue, _MAJOR)
                self.queues[queue.name] = MemoryQueue(queue.name, arguments, self._bury)
        for binding in topology.bindings:
            self._bind(binding)
        self._house_the_homeless()
        for client in list(self._clients):
            client.connection_restored()

    def differences(self, topology: Topology) -> list[str]:
        """How this server differs from `topology`; empty if it does not."""
        found = [self._exchange_difference(exchange) for exchange in topology.exchanges]
        found += [self._queue_difference(queue) for queue in topology.queues]
        return [text for text in found if text]

    def publish(self, delivery: Delivery, *, mandatory: bool) -> Receipt:
        """Route to every queue that is bound for it."""
        is_refused = self._refusals > 0
        self._refusals -= is_refused
        if delivery.exchange not in self._exchanges or (is_refused and not self._keeps_refused):
            return Receipt.UNKNOWN
        routed = self._route(delivery)
        if is_refused:
            return Receipt.UNKNOWN
        return Receipt.CONFIRMED if routed or not mandatory else Receipt.UNROUTABLE

    def connect(self, client: MemoryClient) -> None:
        self._clients.append(client)

    def disconnect(self, client: MemoryClient) -> None:
        self._clients.remove(client)

    def drop_connections(self) -> None:
        """Lose every connection once. The clients connect again at once."""
        for client in list(self._clients):
            client.connection_lost()
        if self.is_up:
            for client in list(self._clients):
                client.connection_restored()

    def go_down(self) -> None:
        """Lose every connection and refuse new ones until `come_back`. Nothing is forgotten."""
        self.is_up = False
        self.drop_connections()

    def come_back(self) -> None:
        self.is_up = True
        for client in list(self._clients):
            client.connection_restored()

    def refuse_publishes(self, count: int, *, but_keep: bool = False) -> None:
        """Answer the next `count` publishes with UNKNOWN; `but_keep`: yet deliver them."""
        self._refusals = count
        self._keeps_refused = but_keep

    def delete_queue(self, name: str) -> None:
        """As an operator would: messages, bindings and consumers go with it."""
        del self.queues[name]
        for exchange, bindings in self._bindings.items():
            self._bindings[exchange] = [each for each in bindings if each.queue != name]
        self.drop_connections()

    def _route(self, delivery: Delivery) -> bool:
        bindings = self._bindings.get(delivery.exchange, [])
        kind = self._exchanges[delivery.exchange]
        key = delivery.routing_key
        names = {each.queue: None for each in bindings if _matches(kind, each.routing_key, key)}
        for name in names:
            self.queues[name].put(replace(delivery, queue=name))
        return bool(names)

    def _bury(self, queue: MemoryQueue, delivery: Delivery) -> None:
        """Send to the dead-letter exchange what exceeded its delivery limit, or drop it."""
        exchange = queue.arguments.get("x-dead-letter-exchange")
        if exchange is None:
            return
        key = queue.arguments.get("x-dead-letter-routing-key", delivery.routing_key)
        dead = replace(
            delivery,
            exchange=str(exchange),
            routing_key=str(key),
            redelivered=False,
            delivery_count=0,
            headers=_death_headers(queue.name, delivery),
        )
        self._homeless.append(dead)
        self._house_the_homeless()

    def _house_the_homeless(self) -> None:
        waiting, self._homeless = self._homeless, []
        for dead in waiting:
            if dead.exchange not in self._exchanges or not self._route(dead):
                self._homeless.append(dead)

    def _bind(self, binding: Binding) -> None:
        bindings = self._bindings.setdefault(binding.exchange, [])
        if binding not in bindings:
            bindings.append(binding)

    def _exchange_difference(self, wanted: Exchange) -> str | None:
        kind = self._exchanges.get(wanted.name)
        if kind is None:
            return f"exchange {wanted.name!r} is missing"
        if kind != wanted.type:
            return f"exchange {wanted.name!r} differs: it is {kind}, not {wanted.type}"
        return None

    def _queue_difference(self, wanted: Queue) -> str | None:
        if wanted.name not in self.queues:
            return f"queue {wanted.name!r} is missing"
        have = self.queues[wanted.name].arguments
        want = declared_arguments(wanted, _MAJOR)
        if have != want:
            return f"queue {wanted.name!r} differs: it has {have}, not {dict(want)}"
        return None


def _death_headers(queue: str, delivery: Delivery) -> Mapping[str, Any]:
    """The headers by which RabbitMQ tells where and why a message died."""
    death = {
        "count": 1,
        "reason": "delivery_limit",
        "queue": queue,
        "time": datetime.now(UTC).replace(microsecond=0),
        "exchange": delivery.exchange,
        "routing-keys": [delivery.routing_key],
    }
    first = {
        "x-first-death-exchange": delivery.exchange,
        "x-first-death-queue": queue,
        "x-first-death-reason": "delivery_limit",
    }
    earlier = delivery.headers.get("x-death", [])
    return {**first, **delivery.headers, "x-death": [death, *earlier]}


def _matches(kind: str, pattern: str, key: str) -> bool:
    if kind == "direct":
        return pattern == key
    return _topic_matches(tuple(pattern.split(".")), tuple(key.split(".")))


def _topic_matches(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """`*` stands for one word, `#` for any number of them."""
    match pattern:
        case ():
            return not words
        case ("#", *rest):
            return any(
                _topic_matches(tuple(rest), words[start:]) for start in range(len(words) + 1)
            )
        case (first, *rest):
            return (
                bool(words) and first in {"*", words[0]} and _topic_matches(tuple(rest), words[1:])
            )
        case _:
            return False
