"""What `saga topology` does, and what it prints."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from chassis.exit_codes import ExitCode
from chassis.settings import Settings, load
from messaging.definitions import definitions
from messaging.errors import ConfigurationError
from messaging.topology import Names, Topology, installation
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, print_json, print_line, print_parts
from orchestrator.cli.wording import counted
from orchestrator.registry import load_definitions

_EXCHANGES: Final = (Column(title="exchange"), Column(title="type"))
_QUEUES: Final = (Column(title="queue"), Column(title="arguments", is_elastic=True))
_BINDINGS: Final = (Column(title="exchange"), Column(title="routing key"), Column(title="queue"))


def perform_show(modules: Sequence[str], output: Output) -> int:
    names, participants = installed(modules)
    topology = installation(names, participants)
    if output is Output.JSON:
        print_json(as_json(topology))
    else:
        print_parts(*_parts(topology))
    return ExitCode.DONE


async def perform_declare(modules: Sequence[str], output: Output) -> int:
    from messaging.rabbitmq import declare

    topology = installation(*installed(modules))
    await declare(broker_url(), topology)
    if output is Output.JSON:
        print_json(as_json(topology))
    else:
        print_line(f"{_counts(topology)} are on the broker")
    return ExitCode.DONE


async def perform_verify(modules: Sequence[str], output: Output) -> int:
    from messaging.rabbitmq import verify

    topology = installation(*installed(modules))
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
    names, participants = installed(modules)
    print_json(
        definitions(
            names,
            participants,
            vhost=vhost,
            broker_major=broker_major,
            max_queue_bytes=max_queue_bytes,
        )
    )
    return ExitCode.DONE


def installed(modules: Sequence[str]) -> tuple[Names, frozenset[str]]:
    """The names on the broker, and the participants that these definitions know."""
    participants = load_definitions(modules).participants if modules else frozenset[str]()
    return Names(load(Settings).namespace), participants


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
