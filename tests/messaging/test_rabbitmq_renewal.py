"""Consumers that have gone deaf without being told."""

import asyncio

import aio_pika
import pytest

from messaging import rabbit_consumer
from messaging.port import Receipt
from messaging.rabbit_consumer import RabbitConsumer
from tests.conformance.worlds import (
    RabbitWorld,
    bodies,
    command,
    commands,
    eventually,
    ready_broker,
    ready_consumer,
    receive,
    small_topology,
)


async def test_a_queue_deleted_and_declared_at_once_is_consumed_again(
    rabbit_world: RabbitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbit_consumer, "RENEWAL_SECONDS", 0.5)
    broker = await ready_broker(rabbit_world)
    queue = rabbit_world.names.commands_for("TestService")
    consumer = await ready_consumer(broker, queue)
    await broker.publish(commands(rabbit_world.names, 20))
    await consumer.ack(await receive(consumer, 20))
    await _replaced(rabbit_world, queue)
    assert list(await broker.publish([command(rabbit_world.names, b"new")])) == [Receipt.CONFIRMED]
    async with asyncio.timeout(10):
        assert bodies(await receive(consumer, 1)) == [b"new"]


async def test_a_delivery_in_hand_outlives_the_renewals_of_others(
    rabbit_world: RabbitWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbit_consumer, "RENEWAL_SECONDS", 0.1)
    broker = await ready_broker(rabbit_world)
    busy = await ready_consumer(broker, rabbit_world.names.commands_for("TestService"))
    await broker.publish([command(rabbit_world.names, b"held")])
    [held] = await receive(busy, 1)
    idle = await ready_consumer(broker, rabbit_world.names.commands_for("OtherService"))
    assert isinstance(idle, RabbitConsumer)
    for _ in range(3):
        channel = idle._channel
        await eventually(lambda channel=channel: idle._channel is not channel)
        assert idle.is_consuming
    await busy.ack([held])
    await busy.close()
    again = await ready_consumer(broker, rabbit_world.names.commands_for("TestService"))
    await broker.publish([command(rabbit_world.names, b"next")])
    assert bodies(await receive(again, 1)) == [b"next"]


async def _replaced(world: RabbitWorld, name: str) -> None:
    """Another client deletes the queue, and a third declares it before anybody is told."""
    topology = small_topology(world.names)
    [queue] = [each for each in topology.queues if each.name == name]
    [binding] = [each for each in topology.bindings if each.queue == name]
    async with await aio_pika.connect(world.url, timeout=10) as connection:
        deleting, declaring = await connection.channel(), await connection.channel()
        await asyncio.gather(
            deleting.queue_delete(name),
            declaring.declare_queue(name, durable=True, arguments=dict(queue.arguments)),
        )
        made = await declaring.declare_queue(name, durable=True, arguments=dict(queue.arguments))
        await made.bind(binding.exchange, binding.routing_key)
