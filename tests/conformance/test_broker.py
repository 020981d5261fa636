"""What every broker promises (messaging/port.py). Each test runs against all of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from messaging.errors import Unavailable
from messaging.port import Broker, Receipt
from tests.conformance.worlds import (
    DELIVERY_LIMIT,
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

CONFIRMED, UNROUTABLE, UNKNOWN = Receipt.CONFIRMED, Receipt.UNROUTABLE, Receipt.UNKNOWN


async def test_deliveries_come_in_the_order_of_publishing(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 20))
    consumer = await ready_consumer(broker, queue)
    deliveries = await receive(consumer, 20)
    assert bodies(deliveries) == [str(number).encode() for number in range(20)]
    assert not any(delivery.redelivered for delivery in deliveries)


async def test_a_batch_of_five_hundred_is_confirmed_and_arrives(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    receipts = await broker.publish(commands(broker_world.names, 500))
    assert receipts == [CONFIRMED] * 500
    consumer = await ready_consumer(broker, queue, prefetch=500)
    assert bodies(await receive(consumer, 500)) == [str(n).encode() for n in range(500)]


async def test_one_receive_returns_all_that_has_arrived_up_to_the_limit(
    broker_world: BrokerWorld,
) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    consumer = await ready_consumer(broker, queue)
    await broker.publish(commands(broker_world.names, 10))
    first = await receive(consumer, 1)
    await eventually(lambda: len(consumer._arrivals._waiting) == 9)  # type: ignore[attr-defined] # the only sign of arrival
    assert len(await consumer.receive(4)) == 4
    assert len(await consumer.receive(100)) == 5
    assert bodies(first) == [b"0"]


async def test_receive_waits_until_something_comes(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    consumer = await ready_consumer(broker, queue)
    waiting = asyncio.create_task(consumer.receive(10))
    await broker.publish([command(broker_world.names, b"here")])
    async with asyncio.timeout(SECONDS):
        assert bodies(await waiting) == [b"here"]


async def test_what_is_acked_never_comes_again(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 5))
    first = await ready_consumer(broker, queue)
    deliveries = await receive(first, 5)
    await first.ack(deliveries[:2])
    await first.ack([deliveries[3]])
    await first.close()
    second = await ready_consumer(broker, queue)
    assert bodies(await receive(second, 2)) == [b"2", b"4"]


async def test_acks_in_any_order_free_the_whole_prefetch(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 12))
    consumer = await ready_consumer(broker, queue, prefetch=4)
    for _ in range(3):
        one, two, three, four = await receive(consumer, 4)
        await consumer.ack([three])
        await consumer.ack([one])
        await consumer.ack([four, two])
    await broker.publish([command(broker_world.names, b"last")])
    assert bodies(await receive(consumer, 1)) == [b"last"]


async def test_acking_twice_does_no_harm(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    consumer = await ready_consumer(broker, queue)
    await broker.publish([command(broker_world.names)])
    deliveries = await receive(consumer, 1)
    await consumer.ack(deliveries)
    await consumer.ack(deliveries)
    await broker.publish([command(broker_world.names, b"next")])
    assert bodies(await receive(consumer, 1)) == [b"next"]


async def test_what_is_released_comes_again_marked_and_counted(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    consumer = await ready_consumer(broker, queue)
    await broker.publish([command(broker_world.names, b"again")])
    first = await receive(consumer, 1)
    await consumer.release(first)
    second = await receive(consumer, 1)
    assert (first[0].redelivered, first[0].delivery_count) == (False, 0)
    assert (second[0].redelivered, second[0].delivery_count) == (True, 1)
    assert second[0].body == b"again"
    assert second[0].message_id == first[0].message_id


async def test_no_more_than_the_prefetch_is_out_at_once(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 10))
    held = await ready_consumer(broker, queue, prefetch=3)
    first = await receive(held, 3)
    other = await ready_consumer(broker, queue, prefetch=10)
    assert bodies(await receive(other, 7)) == [str(number).encode() for number in range(3, 10)]
    await broker.publish([command(broker_world.names, b"more")])
    assert bodies(await receive(other, 1)) == [b"more"]
    await held.ack(first)


async def test_too_many_failed_deliveries_make_a_dead_letter(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    names = broker_world.names
    consumer = await ready_consumer(broker, queue)
    await broker.publish([command(names, b"poison", headers={"saga-attempt": 3})])
    for failures in range(DELIVERY_LIMIT + 1):
        deliveries = await receive(consumer, 1)
        assert deliveries[0].delivery_count == failures
        await consumer.release(deliveries)
    dead = (await receive(await ready_consumer(broker, names.dead_letters), 1))[0]
    assert (dead.exchange, dead.routing_key, dead.body) == (names.dead, queue, b"poison")
    assert dead.message_id == deliveries[0].message_id
    assert dead.headers["saga-attempt"] == 3
    death = dead.headers["x-death"][0]
    assert (death["reason"], death["queue"]) == ("delivery_limit", queue)
    assert death["routing-keys"] == ["TestService.Do"]


async def test_a_message_that_no_queue_is_bound_for_is_returned(broker_world: BrokerWorld) -> None:
    broker, _ = await _broker_and_queue(broker_world)
    nowhere = command(broker_world.names, routing_key="Nobody.Listens")
    assert await broker.publish([nowhere]) == [UNROUTABLE]


async def test_a_message_that_needs_no_listener_is_confirmed(broker_world: BrokerWorld) -> None:
    broker, _ = await _broker_and_queue(broker_world)
    event = command(broker_world.names, exchange=broker_world.names.events, mandatory=False)
    assert await broker.publish([event]) == [CONFIRMED]


async def test_one_unroutable_message_in_a_large_batch_is_told_apart(
    broker_world: BrokerWorld,
) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    messages = commands(broker_world.names, 700)
    messages[350] = command(broker_world.names, routing_key="Nobody.Listens")
    receipts = await broker.publish(messages)
    assert receipts[350] is UNROUTABLE
    assert receipts[:350] + receipts[351:] == [CONFIRMED] * 699
    consumer = await ready_consumer(broker, queue, prefetch=699)
    assert len(await receive(consumer, 699)) == 699


async def test_an_exchange_that_is_missing_harms_no_other_message(
    broker_world: BrokerWorld,
) -> None:
    broker, _ = await _broker_and_queue(broker_world)
    stray = command(broker_world.names, exchange=f"{broker_world.names.namespace}.missing")
    good = command(broker_world.names)
    await broker.publish([good, stray, good])
    for _ in range(3):
        assert await broker.publish([good, stray, good]) == [CONFIRMED, UNKNOWN, CONFIRMED]


async def test_a_message_that_cannot_be_encoded_is_unroutable(broker_world: BrokerWorld) -> None:
    broker, _ = await _broker_and_queue(broker_world)
    endless = command(broker_world.names, routing_key="TestService." + "x" * 300)
    good = command(broker_world.names)
    assert await broker.publish([good, endless, good]) == [CONFIRMED, UNROUTABLE, CONFIRMED]


async def test_publishing_nothing_is_no_work(broker_world: BrokerWorld) -> None:
    broker, _ = await _broker_and_queue(broker_world)
    assert list(await broker.publish([])) == []


async def test_many_callers_publish_at_once(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    batches = [commands(broker_world.names, 30) for _ in range(10)]
    receipts = await asyncio.gather(*(broker.publish(batch) for batch in batches))
    assert receipts == [[CONFIRMED] * 30] * 10
    consumer = await ready_consumer(broker, queue, prefetch=300)
    assert len(await receive(consumer, 300)) == 300


async def test_message_ids_are_fresh_at_each_publish(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    message = command(broker_world.names)
    await broker.publish([message, message])
    await broker.publish([message])
    deliveries = await receive(await ready_consumer(broker, queue), 3)
    assert len({delivery.message_id for delivery in deliveries}) == 3


async def test_properties_arrive_as_they_were_sent(broker_world: BrokerWorld) -> None:
    broker = await ready_broker(broker_world, app_id="the orchestrator")
    names = broker_world.names
    headers: dict[str, str | int] = {"saga-type": "Größe", "saga-attempt": 7, "big": 2**40}
    body = b'{"saga_id": "order-42"}\x00\xff'
    before = datetime.now(UTC)
    await broker.publish([command(names, body, correlation_id="order-42", headers=headers)])
    consumer = await ready_consumer(broker, names.commands_for("TestService"))
    (delivery,) = await receive(consumer, 1)
    assert delivery.queue == names.commands_for("TestService")
    assert (delivery.exchange, delivery.routing_key) == (names.commands, "TestService.Do")
    assert (delivery.type, delivery.correlation_id) == ("TestService.Do", "order-42")
    assert (delivery.body, delivery.headers) == (body, headers)
    assert (delivery.content_type, delivery.content_encoding) == ("application/json", None)
    assert (delivery.app_id, delivery.user_id) == ("the orchestrator", broker_world.user)
    assert delivery.timestamp is not None
    assert abs(delivery.timestamp - before) < timedelta(seconds=10)


async def test_a_large_body_and_an_empty_one_arrive_whole(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    large = bytes(range(256)) * 4096
    await broker.publish([command(broker_world.names, large), command(broker_world.names, b"")])
    assert bodies(await receive(await ready_consumer(broker, queue), 2)) == [large, b""]


async def test_two_consumers_share_a_queue(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    one = await ready_consumer(broker, queue, prefetch=5)
    two = await ready_consumer(await ready_broker(broker_world), queue, prefetch=5)
    await broker.publish(commands(broker_world.names, 10))
    first, second = await receive(one, 5), await receive(two, 5)
    assert sorted(bodies(first) + bodies(second)) == [str(n).encode() for n in range(10)]


async def test_closing_a_consumer_gives_back_what_it_held(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    await broker.publish(commands(broker_world.names, 6))
    leaving = await ready_consumer(broker, queue)
    await receive(leaving, 3)  # three more have arrived and nobody took them
    await leaving.close()
    staying = await ready_consumer(broker, queue)
    deliveries = await receive(staying, 6)
    assert sorted(bodies(deliveries)) == [str(number).encode() for number in range(6)]
    assert all(delivery.redelivered for delivery in deliveries)
    assert broker.is_ready()


async def test_receiving_from_a_closed_consumer_is_refused(broker_world: BrokerWorld) -> None:
    broker, queue = await _broker_and_queue(broker_world)
    consumer = await ready_consumer(broker, queue)
    waiting = asyncio.create_task(consumer.receive(1))
    await consumer.close()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(Unavailable, match="is closed"):
            await waiting


async def _broker_and_queue(world: BrokerWorld) -> tuple[Broker, str]:
    return await ready_broker(world), world.names.commands_for("TestService")
