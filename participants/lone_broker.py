"""A broker for a process that runs no services, such as a web service: it only publishes."""

from messaging.brokers import broker_for
from messaging.port import Broker
from messaging.topology import Names, TopologyMode, installation


def lone_broker(amqp_url: str, names: Names) -> Broker:
    """Declares nothing: the services and the orchestrator have done so."""
    return broker_for(
        amqp_url,
        names=names,
        topology=installation(names, ()),
        mode=TopologyMode.IGNORE,
        app_id="participants",
    )
