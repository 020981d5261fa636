"""What `saga topology` does, and what it prints."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from chassis.exit_codes import ExitCode
from chassis.modules import imported
from chassis.settings import Settings, load
from messaging.definitions import definitions, installation_with
from messaging.errors import ConfigurationError
from messaging.topology import Names, Topology
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, print_json, print_line, print_parts
from orchestrator.cli.wording import counted
from orchestrator.registry import load_definitions
from participants import Choreography, Participant
from participants.runner import Hosted

_EXCHANGES: Final = (Column(title="exchange"), Column(title="type"))
_QUEUES: Final = (Column(title="queue"), Column(title="arguments", is_elastic=True))
_BINDINGS: Final = (Column(title="exchange"), Column(title="routing key"), Column(title="queue"))


def perform_show(modules: Sequence[str], output: Output) -> int:
    topology = installed(modules).topology
    if output is Output.JSON:
        print_json(as_json(topology))
    else:
        print_parts(*_parts(topology))
    return ExitCode.DONE


async def perform_declare(modules: Sequence[str], output: Output) -> int:
    from messaging.rabbitmq import declare

    topology = installed(modules).topology
    await declare(broker_url(), topology)
    if output is Output.JSON:
        print_json(as_json(topology))
    else:
        print_line(f"{_counts(topology)} are on the broker")
    return ExitCode.DONE


async def perform_verify(modules: Sequence[str], output: Output) -> int:
    from messaging.rabbitmq import verify

    topology = installed(modules).topology
    differences = await verify(broker_url(), topology)
    if output is Output.JSON:
        print_json({"is_as_it_should_be": not differences, "differences": differences})
    elif not differences:
        print_line(f"{_counts(topology)} are as they should be")
    else:
        for difference in differences:
            print_line(difference)
    return ExitCode.MISCONFIGURED if differences else ExitCode.DONE


def perform_definitions(
    modules: Sequence[str], *, vhost: str, broker_major: int, max_queue_bytes: int | None
) -> int:
    found = installed(modules)
    print_json(
        definitions(
            found.names,
            found.participants,
            listeners=found.listeners,
            vhost=vhost,
            broker_major=broker_major,
            max_queue_bytes=max_queue_bytes,
        )
    )
    return ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The names on the broker, and the services that are known by modules."""

    names: Names
    participants: frozenset[str] = frozenset()
    listeners: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def topology(self) -> Topology:
        return installation_with(self.names, self.participants, self.listeners)


def installed(modules: Sequence[str], names: Names | None = None) -> Installed:
    """What these modules need: saga definitions, participants and choreographed services."""
    listeners: dict[str, frozenset[str]] = {}
    participants: set[str] = set()
    for target in modules:
        found = _services(target)
        listeners |= {
            each.name: frozenset(each.reactions) for each in found if isinstance(each, Choreography)
        }
        participants |= {each.name for each in found if isinstance(each, Participant)}
        # A module of services need define no saga; one without services has to.
        with suppress(ConfigurationError) if found else nullcontext():
            participants |= load_definitions([target]).participants
    return Installed(
        names=names or Names(load(Settings).namespace),
        participants=frozenset(participants),
        listeners=listeners,
    )


def _services(target: str) -> Sequence[Hosted]:
    name, _, attribute = target.partition(":")
    known = vars(imported(name))
    named = [known.get(attribute)] if attribute else list(known.values())
    return [each for each in named if isinstance(each, Choreography | Participant)]


def broker_url() -> str:
    """SAGA_AMQP_URL. The embedded broker lives and ends with its own process."""
    url = load(Settings).amqp_url.get_secret_value()
    if url.startswith("memory:"):
        raise ConfigurationError(
            f"SAGA_AMQP_URL={url} is the embedded broker, which no other program can see; "
            "set it to amqp://user:password@host:5672/vhost"
        )
    return url


def as_json(topology: Topology) -> dict[str, Any]:
    return {
        "exchanges": [{"name": each.name, "type": each.type} for each in topology.exchanges],
        "queues": [
            {"name": each.name, "arguments": dict(each.arguments)} for each in topology.queues
        ],
        "bindings": [
            {"exchange": each.exchange, "routing_key": each.routing_key, "queue": each.queue}
            for each in topology.bindings
        ],
    }


def _parts(topology: Topology) -> Iterator[RenderableType]:
    yield Listing(_EXCHANGES, [(each.name, each.type) for each in topology.exchanges])
    yield Text()
    yield Listing(_QUEUES, [(each.name, _words(each.arguments)) for each in topology.queues])
    yield Text()
    rows = [(each.exchange, each.routing_key, each.queue) for each in topology.bindings]
    yield Listing(_BINDINGS, rows)


def _words(arguments: Any) -> str:
    return " ".join(f"{name.removeprefix('x-')}={value}" for name, value in arguments.items())


def _counts(topology: Topology) -> str:
    exchanges = counted(len(topology.exchanges), "exchange")
    queues = counted(len(topology.queues), "queue")
    return f"{exchanges}, {queues} and {counted(len(topology.bindings), 'binding')}"
