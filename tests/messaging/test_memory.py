"""The embedded broker: its routing, its faults on demand, and who shares a server."""

import pytest

from messaging.brokers import broker_for, memory_server
from messaging.errors import ConfigurationError
from messaging.memory import MemoryBroker, MemoryServer
from messaging.port import Broker, Outgoing, Receipt
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Binding, Exchange, Names, Queue, Topology, TopologyMode, installation

NAMES = Names("memory-test")
CONFIRMED, UNROUTABLE, UNKNOWN = Receipt.CONFIRMED, Receipt.UNROUTABLE, Receipt.UNKNOWN


@pytest.mark.parametrize(
    ("pattern", "key", "is_routed"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("#.c", "a.b.c", True),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.d", False),
        ("#.#", "a", True),
    ],
)
async def test_topics_are_matched_as_rabbitmq_does(pattern: str, key: str, is_routed: bool) -> None:
    server = MemoryServer()
    async with _broker(server, _one_queue("topic", pattern)) as broker:
        receipts = await broker.publish([_message(key)])
    assert receipts == [CONFIRMED if is_routed else UNROUTABLE]
    assert server.queues["q"].depth == int(is_routed)


async def test_a_direct_exchange_knows_no_patterns() -> None:
    async with _broker(MemoryServer(), _one_queue("direct", "a.*")) as broker:
        assert await broker.publish([_message("a.b"), _message("a.*")]) == [UNROUTABLE, CONFIRMED]


async def test_a_queue_that_is_bound_twice_gets_a_message_once() -> None:
    server = MemoryServer()
    topology = _one_queue("topic", "a.*")
    more = Binding(exchange="x", queue="q", routing_key="#")
    twice = Topology(
        exchanges=topology.exchanges,
        queues=topology.queues,
        bindings=(*topology.bindings, *topology.bindings, more),
    )
    async with _broker(server, twice) as broker:
        await broker.publish([_message("a.b")])
    assert server.queues["q"].depth == 1


async def test_refused_publishes_are_unknown_and_lost() -> None:
    server = MemoryServer()
    async with _broker(server, _one_queue("direct", "k")) as broker:
        server.refuse_publishes(2)
        assert await broker.publish([_message("k")] * 3) == [UNKNOWN, UNKNOWN, CONFIRMED]
    assert server.queues["q"].depth == 1


async def test_publishes_can_be_kept_although_their_confirms_are_lost() -> None:
    server = MemoryServer()
    async with _broker(server, _one_queue("direct", "k")) as broker:
        server.refuse_publishes(1, but_keep=True)
        assert await broker.publish([_message("k")]) == [UNKNOWN]
    assert server.queues["q"].depth == 1


async def test_a_dead_letter_waits_until_its_queue_is_declared() -> None:
    server = MemoryServer()
    arguments = {"x-delivery-limit": 0, "x-dead-letter-exchange": "dead"}
    topology = _one_queue("direct", "k", arguments)
    async with _broker(server, topology) as broker:
        consumer = await broker.consume("q", prefetch=1)
        await broker.publish([_message("k")])
        await consumer.release(await consumer.receive(1))
    server.declare(
        Topology(
            exchanges=(Exchange(name="dead", type="topic"),),
            queues=(Queue(name="graves"),),
            bindings=(Binding(exchange="dead", queue="graves", routing_key="#"),),
        )
    )
    assert (server.queues["q"].depth, server.queues["graves"].depth) == (0, 1)


async def test_a_deleted_queue_takes_its_consumers_readiness_with_it() -> None:
    server = MemoryServer()
    topology = _one_queue("direct", "k")
    async with _broker(server, topology) as broker:
        await broker.consume("q", prefetch=1)
        assert broker.is_ready()
        server.delete_queue("q")
        assert not broker.is_ready()
        assert await broker.publish([_message("k")]) == [UNROUTABLE]
        server.declare(topology)
        assert broker.is_ready()


async def test_messages_outlive_the_broker_that_sent_them() -> None:
    url = "memory://messages-outlive"
    async with _for(url) as broker:
        start = Outgoing(exchange=NAMES.starts, routing_key="StartSaga", type="StartSaga", body=b"")
        assert await broker.publish([start]) == [CONFIRMED]
    assert memory_server("messages-outlive").queues[NAMES.starts].depth == 1
    async with _for(url) as broker:
        consumer = await broker.consume(NAMES.starts, prefetch=1)
        assert len(await consumer.receive(1)) == 1


async def test_another_name_is_another_server() -> None:
    assert memory_server("one") is memory_server("one")
    assert memory_server("one") is not memory_server("two")


def test_the_scheme_chooses_the_broker() -> None:
    assert isinstance(_for("memory://"), MemoryBroker)
    assert isinstance(_for("amqp://guest:guest@localhost/"), RabbitBroker)
    assert isinstance(_for("amqps://guest:guest@localhost/"), RabbitBroker)


@pytest.mark.parametrize("url", ["", "memory", "redis://user:hunter2@host", "hunter2@host"])
def test_another_scheme_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="set SAGA_AMQP_URL") as refusal:
        _for(url)
    assert "hunter2" not in str(refusal.value)


def _for(url: str) -> Broker:
    topology = installation(NAMES, [])
    mode = TopologyMode.DECLARE
    return broker_for(url, names=NAMES, topology=topology, mode=mode, app_id="test")


def _broker(server: MemoryServer, topology: Topology) -> MemoryBroker:
    mode = TopologyMode.DECLARE
    return MemoryBroker(server, names=NAMES, topology=topology, mode=mode, app_id="test")


def _one_queue(kind: str, key: str, arguments: dict[str, str | int] | None = None) -> Topology:
    return Topology(
        exchanges=(Exchange(name="x", type=kind),),
        queues=(Queue(name="q", arguments=arguments or {}),),
        bindings=(Binding(exchange="x", queue="q", routing_key=key),),
    )


def _message(key: str) -> Outgoing:
    return Outgoing(exchange="x", routing_key=key, type="T", body=b"{}")
