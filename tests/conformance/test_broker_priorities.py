"""Of several consumers of a queue, whom a broker serves first. Against all brokers."""

from messaging.port import Broker, Consumer
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

FIRST, SECOND = -1_700_000_000_000, -1_800_000_000_000  # as large as they are in earnest


async def test_the_higher_priority_gets_all_until_it_has_its_prefetch(
    broker_world: BrokerWorld,
) -> None:
    broker, low, high = await _consumers(broker_world, SECOND, FIRST, prefetch=5)
    await broker.publish(commands(broker_world.names, 5))
    held = await receive(high, 5)
    assert bodies(held) == [b"0", b"1", b"2", b"3", b"4"]
    await broker.publish([command(broker_world.names, b"too many")])
    assert bodies(await receive(low, 1)) == [b"too many"]
    await high.ack(held)
    await broker.publish([command(broker_world.names, b"room again")])
    assert bodies(await receive(high, 1)) == [b"room again"]


async def test_the_lower_priority_goes_on_where_the_higher_stopped(
    broker_world: BrokerWorld,
) -> None:
    broker, low, high = await _consumers(broker_world, SECOND, FIRST, prefetch=5)
    await broker.publish(commands(broker_world.names, 3))
    await high.ack((await receive(high, 3))[:1])
    await high.close()
    again = await receive(low, 2)
    assert bodies(again) == [b"1", b"2"]
    assert all(delivery.redelivered for delivery in again)
    await broker.publish([command(broker_world.names, b"new")])
    assert bodies(await receive(low, 1)) == [b"new"]


async def test_no_priority_is_above_a_negative_and_below_a_positive_one(
    broker_world: BrokerWorld,
) -> None:
    broker, *consumers = await _consumers(broker_world, SECOND, 0, 1, prefetch=1)
    for consumer, body in zip(reversed(consumers), (b"0", b"1", b"2"), strict=True):
        await broker.publish([command(broker_world.names, body)])
        assert bodies(await receive(consumer, 1)) == [body]


async def test_equals_are_served_in_turn(broker_world: BrokerWorld) -> None:
    broker, one, two = await _consumers(broker_world, FIRST, FIRST, prefetch=10)
    await broker.publish(commands(broker_world.names, 10))
    first, second = await receive(one, 5), await receive(two, 5)
    assert sorted(bodies(first) + bodies(second)) == [str(n).encode() for n in range(10)]


async def test_a_priority_outlives_a_lost_connection(broker_world: BrokerWorld) -> None:
    broker, low, high = await _consumers(broker_world, SECOND, FIRST, prefetch=5)
    await broker_world.go_down()
    await eventually(lambda: not broker.is_ready())
    await broker_world.come_back()
    await broker.wait_ready(SECONDS)
    await broker.publish(commands(broker_world.names, 6))
    assert len(await receive(high, 5)) == 5
    assert bodies(await receive(low, 1)) == [b"5"]


async def _consumers(
    world: BrokerWorld, *priorities: int, prefetch: int
) -> tuple[Broker, *tuple[Consumer, ...]]:
    """A client that consumes the same queue several times, with these priorities."""
    broker, queue = await ready_broker(world), world.names.commands_for("TestService")
    begun = [await ready_consumer(broker, queue, prefetch, priority=each) for each in priorities]
    return broker, *begun
