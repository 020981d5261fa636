"""What every broker promises when connections are lost, and about its topology."""

import asyncio

import pytest

from messaging.errors import ConfigurationError, Unavailable
from messaging.port import Broker, Receipt
from messaging.topology import Exchange, Topology, TopologyMode
from tests.conformance.worlds import (
    SECONDS,
    BrokerWorld,
    bodies,
    command,
    commands,
    eventually,
    ready_broker,
    ready_consumer,
    receive,
)

CONFIRMED, UNKNOWN = Receipt.CONFIRMED, Receipt.UNKNOWN


async def test_after_a_lost_connection_everything_unsettled_comes_again(
    broker_world: BrokerWorld,
) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 4))
    consumer = await ready_consumer(broker, queue)
    old = await receive(consumer, 4)
    broker_world.lose_connections()
    new = await receive(consumer, 4)
    assert bodies(new) == [b"0", b"1", b"2", b"3"]
    assert all(delivery.redelivered and delivery.delivery_count == 1 for delivery in new)
    assert {delivery.session for delivery in new}.isdisjoint({old[0].session})


async def test_settling_what_came_before_the_loss_changes_nothing(
    broker_world: BrokerWorld,
) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 2))
    consumer = await ready_consumer(broker, queue)
    old = await receive(consumer, 2)
    broker_world.lose_connections()
    new = await receive(consumer, 2)
    await consumer.ack(old)
    await consumer.release(old)
    await consumer.ack(new[:1])
    await consumer.close()
    (left,) = await receive(await ready_consumer(broker, queue), 1)
    assert left.body == b"1"


async def test_settling_while_disconnected_raises_nothing(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 2))
    consumer = await ready_consumer(broker, queue)
    old = await receive(consumer, 2)
    await broker_world.go_down()
    await consumer.ack(old[:1])
    await consumer.release(old[1:])
    await eventually(lambda: not broker.is_ready())
    await consumer.ack(old)
    await broker_world.come_back()
    assert bodies(await receive(consumer, 2)) == [b"0", b"1"]


async def test_publishing_during_an_outage_is_unknown_and_then_works_again(
    broker_world: BrokerWorld,
) -> None:
    broker = await ready_broker(broker_world, publish_deadline=0.5)
    await broker_world.go_down()
    await eventually(lambda: not broker.is_ready())
    assert broker.obstacle()
    assert await broker.publish([command(broker_world.names)] * 2) == [UNKNOWN, UNKNOWN]
    await broker_world.come_back()
    await broker.wait_ready(SECONDS)
    assert broker.obstacle() is None
    assert await broker.publish([command(broker_world.names)] * 2) == [CONFIRMED, CONFIRMED]


async def test_publishing_waits_for_a_connection_that_comes_back_in_time(
    broker_world: BrokerWorld,
) -> None:
    broker = await ready_broker(broker_world, publish_deadline=SECONDS)
    await broker_world.go_down()
    await eventually(lambda: not broker.is_ready())
    publishing = asyncio.create_task(broker.publish([command(broker_world.names)]))
    await broker_world.come_back()
    assert await publishing == [CONFIRMED]


async def test_what_was_confirmed_survives_an_outage(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 3))
    await broker_world.go_down()
    await broker_world.come_back()
    assert bodies(await receive(await ready_consumer(broker, queue), 3)) == [b"0", b"1", b"2"]


async def test_changes_of_the_connection_are_told(broker_world: BrokerWorld) -> None:
    changes: list[bool] = []
    broker = await ready_broker(broker_world, on_change=lambda up, _: changes.append(up))
    assert changes == [True]
    broker_world.lose_connections()
    await eventually(lambda: changes[:2] == [True, False] and changes[-1])
    await broker.wait_ready(SECONDS)


async def test_a_listener_that_fails_stops_nothing(broker_world: BrokerWorld) -> None:
    changes: list[bool] = []

    def fail(up: bool, detail: str) -> None:
        changes.append(up)
        raise ValueError(detail)

    broker = await ready_broker(broker_world, on_change=fail)
    broker_world.lose_connections()
    await eventually(lambda: changes == [True, False, True])
    assert await broker.publish([command(broker_world.names)]) == [CONFIRMED]


async def test_a_closed_broker_publishes_nothing(broker_world: BrokerWorld) -> None:
    broker = await ready_broker(broker_world)
    await broker.close()
    assert await broker.publish([command(broker_world.names)]) == [UNKNOWN]
    assert not broker.is_ready()
    with pytest.raises(Unavailable, match="closed"):
        await broker.consume(broker_world.names.replies, prefetch=1)


async def test_a_consumer_may_come_before_its_queue(broker_world: BrokerWorld) -> None:
    broker = await ready_broker(broker_world, mode=TopologyMode.IGNORE)
    queue = broker_world.names.commands_for("TestService")
    consumer = await broker.consume(queue, prefetch=1)
    with pytest.raises(Unavailable, match="not ready within"):
        await broker.wait_ready(0.5)
    declaring = await ready_broker(broker_world)
    await declaring.publish([command(broker_world.names, b"early")])
    assert bodies(await receive(consumer, 1)) == [b"early"]


async def test_verifying_finds_what_is_missing(broker_world: BrokerWorld) -> None:
    broker = broker_world.broker(mode=TopologyMode.VERIFY)
    await broker_world.clients.enter_async_context(broker)
    with pytest.raises(ConfigurationError, match=r"is missing.*saga topology declare"):
        await broker.wait_ready(SECONDS)


async def test_verifying_what_is_there_finds_nothing(broker_world: BrokerWorld) -> None:
    await ready_broker(broker_world)
    verified = await ready_broker(broker_world, mode=TopologyMode.VERIFY)
    assert verified.is_ready()


@pytest.mark.parametrize("mode", [TopologyMode.DECLARE, TopologyMode.VERIFY])
async def test_a_topology_that_differs_is_a_configuration_error(
    broker_world: BrokerWorld, mode: TopologyMode
) -> None:
    await ready_broker(broker_world)
    events = broker_world.names.events
    other = Topology(exchanges=(Exchange(name=events, type="direct"),), queues=(), bindings=())
    broker = broker_world.broker(mode=mode, topology=other)
    await broker_world.clients.enter_async_context(broker)
    with pytest.raises(ConfigurationError, match=f"{events}.* differs"):
        await broker.wait_ready(SECONDS)


async def _broker_and_queue(world: BrokerWorld) -> tuple[Broker, str]:
    return await ready_broker(world), world.names.commands_for("TestService")
