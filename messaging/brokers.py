"""Which broker a URL means."""

from collections.abc import Callable

from messaging.errors import ConfigurationError
from messaging.memory import MemoryBroker
from messaging.memory_server import MemoryServer
from messaging.port import Broker
from messaging.rabbit_url import without_password
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, Topology, TopologyMode

_servers: dict[str, MemoryServer] = {}


def broker_for(
    url: str,
    *,
    names: Names,
    topology: Topology,
    mode: TopologyMode,
    app_id: str,
    on_change: Callable[[bool, str], None] | None = None,
) -> Broker:
    """A broker, not yet opened: `amqp://`, `amqps://`, or `memory://[name]`."""
    match url.partition("://"):
        case ("amqp" | "amqps", "://", _):
            return RabbitBroker(
                url,
                names=names,
                topology=topology,
                mode=mode,
                app_id=app_id,
                on_change=on_change,
            )
        case ("memory", "://", name):
            return MemoryBroker(
                memory_server(name),
                names=names,
                topology=topology,
                mode=mode,
                app_id=app_id,
                on_change=on_change,
            )
        case _:
            raise ConfigurationError(
                f"the broker URL {without_password(url)!r} is of no known kind; set SAGA_AMQP_URL "
                "to amqp://user:password@host:5672/vhost, amqps://… or memory://"
            )


def memory_server(name: str = "") -> MemoryServer:
    """The server behind `memory://name`: the same one for the whole process."""
    return _servers.setdefault(name, MemoryServer())
