"""Exchanges, queues and bindings, as data. Declaring them is the broker's work."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from messaging.contract import ReplyType, StartType


class TopologyMode(StrEnum):
    """What a program does about its topology when it connects (`SAGA_TOPOLOGY`)."""

    DECLARE = "declare"
    VERIFY = "verify"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    name: str
    type: str  # "direct" or "topic"; all are durable


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable quorum queue."""

    name: str
    arguments: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What one program uses, or what an installation consists of."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """Every name on the broker, by namespace (CONTRACT §1)."""

    namespace: str = "saga"

    @property
    def starts(self) -> str:
        """The exchange for starts and cancels, and its queue."""
        return f"{self.namespace}.starts"

    @property
    def commands(self) -> str:
        return f"{self.namespace}.commands"

    @property
    def replies(self) -> str:
        """The exchange for replies, and its queue."""
        return f"{self.namespace}.replies"

    @property
    def events(self) -> str:
        return f"{self.namespace}.events"

    @property
    def dead(self) -> str:
        return f"{self.namespace}.dead"

    @property
    def dead_letters(self) -> str:
        return f"{self.namespace}.dead-letters"

    def commands_for(self, participant: str) -> str:
        """The queue of a participant's commands."""
        return f"{self.commands}.{participant}"

    def choreography_of(self, service: str) -> str:
        """The queue of the events that a choreographed service listens to."""
        return f"{self.namespace}.choreography.{service}"

    @property
    def event_log(self) -> str:
        """The queue of the recorder, which hears every event."""
        return f"{self.namespace}.event-log"

    def exchanges(self) -> tuple[Exchange, ...]:
        return (
            Exchange(name=self.starts, type="direct"),
            Exchange(name=self.commands, type="topic"),
            Exchange(name=self.replies, type="direct"),
            Exchange(name=self.events, type="topic"),
            Exchange(name=self.dead, type="topic"),
        )


def installation(names: Names, participants: Iterable[str]) -> Topology:
    """All of it, for these participants. A participant declares it for itself alone."""
    services = sorted(set(participants))
    work = [names.starts, names.replies, *(names.commands_for(service) for service in services)]
    return Topology(
        exchanges=names.exchanges(),
        queues=(*(_work_queue(names, queue) for queue in work), _dead_letter_queue(names)),
        bindings=(
            *(_binding(names.starts, kind) for kind in StartType),
            *(_binding(names.replies, kind) for kind in ReplyType),
            _binding(names.replies, names.replies),
            *(_command_binding(names, service) for service in services),
            Binding(exchange=names.dead, queue=names.dead_letters, routing_key="#"),
        ),
    )


def listening(names: Names, services: Mapping[str, Iterable[str]]) -> Topology:
    """What is added for choreographed services: the types of events that each listens to.

    Each queue is bound by its own name, too: by that, one service alone gets an event again.
    """
    queues = {service: names.choreography_of(service) for service in sorted(services)}
    return Topology(
        exchanges=(),
        queues=tuple(_work_queue(names, queue) for queue in queues.values()),
        bindings=tuple(
            Binding(exchange=names.events, queue=queue, routing_key=key)
            for service, queue in queues.items()
            for key in (*sorted(set(services[service])), queue)
        ),
    )


def recording(names: Names) -> Topology:
    """What is added for the recorder: every event, for its log."""
    queue = names.event_log
    return Topology(
        exchanges=(),
        queues=(_work_queue(names, queue),),
        bindings=(Binding(exchange=names.events, queue=queue, routing_key="#"),),
    )


def joined(*parts: Topology) -> Topology:
    """All of them as one."""
    return Topology(
        exchanges=tuple(each for part in parts for each in part.exchanges),
        queues=tuple(each for part in parts for each in part.queues),
        bindings=tuple(each for part in parts for each in part.bindings),
    )


def _work_queue(names: Names, queue: str) -> Queue:
    return Queue(
        name=queue,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 20,
            "x-dead-letter-exchange": names.dead,
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def _dead_letter_queue(names: Names) -> Queue:
    """No limits here. `declared_arguments` lifts the default limit of brokers from 4.0."""
    return Queue(name=names.dead_letters, arguments={"x-queue-type": "quorum"})


def declared_arguments(queue: Queue, broker_major: int) -> Mapping[str, str | int]:
    """The arguments to declare `queue` with on a broker of that major version."""
    if "x-delivery-limit" in queue.arguments or broker_major < 4:
        return queue.arguments
    return {**queue.arguments, "x-delivery-limit": -1}


def _binding(exchange: str, routing_key: str) -> Binding:
    return Binding(exchange=exchange, queue=exchange, routing_key=routing_key)


def _command_binding(names: Names, participant: str) -> Binding:
    return Binding(
        exchange=names.commands,
        queue=names.commands_for(participant),
        routing_key=f"{participant}.*",
    )
