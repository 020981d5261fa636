"""What the network and the operator can do to a RabbitBroker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from messaging.errors import ConfigurationError, Unavailable
from messaging.port import Receipt
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, TopologyMode
from tests.conformance.worlds import (
    SECONDS,
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

CONFIRMED, UNKNOWN = Receipt.CONFIRMED, Receipt.UNKNOWN


async def test_cut_connections_are_built_anew_again_and_again(rabbit_world: RabbitWorld) -> None:
    broker = await ready_broker(rabbit_world)
    consumer = await ready_consumer(broker, _queue(rabbit_world))
    for number in range(4):
        rabbit_world.proxy.cut()
        await eventually(lambda: not broker.is_ready())
        await broker.wait_ready(SECONDS)
        body = str(number).encode()
        assert await broker.publish([command(rabbit_world.names, body)]) == [CONFIRMED]
        while body not in bodies(deliveries := await receive(consumer, 1)):
            await consumer.ack(deliveries)  # its first ack was cut off
        await consumer.ack(deliveries)


async def test_a_cut_while_publishing_leaves_outcomes_unknown(rabbit_world: RabbitWorld) -> None:
    broker = await ready_broker(rabbit_world)
    rabbit_world.proxy.latency = 0.05
    publishing = asyncio.create_task(broker.publish(commands(rabbit_world.names, 50)))
    await asyncio.sleep(0.02)  # the messages are on their way, and no confirm can be back yet
    rabbit_world.proxy.cut()
    assert set(await publishing) == {UNKNOWN}
    rabbit_world.proxy.latency = 0.0
    await broker.wait_ready(SECONDS)
    assert await broker.publish(commands(rabbit_world.names, 50)) == [CONFIRMED] * 50


async def test_a_frozen_connection_is_found_by_the_publish_deadline(
    rabbit_world: RabbitWorld,
) -> None:
    broker = await ready_broker(rabbit_world, publish_deadline=1.0)
    rabbit_world.proxy.freeze()
    async with asyncio.timeout(3):
        assert await broker.publish([command(rabbit_world.names)] * 3) == [UNKNOWN] * 3
    await eventually(lambda: not broker.is_ready())
    rabbit_world.proxy.thaw()
    await broker.wait_ready(SECONDS)
    assert await broker.publish([command(rabbit_world.names)]) == [CONFIRMED]


async def test_a_frozen_broker_is_closed_in_time(rabbit_world: RabbitWorld) -> None:
    broker = await ready_broker(rabbit_world)
    await ready_consumer(broker, _queue(rabbit_world))
    rabbit_world.proxy.freeze()
    async with asyncio.timeout(6):
        await broker.close()


async def test_a_peer_that_accepts_and_says_nothing_is_given_up(rabbit_world: RabbitWorld) -> None:
    rabbit_world.proxy.freeze()
    broker = await rabbit_world.clients.enter_async_context(rabbit_world.broker())
    with pytest.raises(Unavailable, match=f"127.0.0.1:{rabbit_world.proxy.port}") as silence:
        await broker.wait_ready(0.5)
    assert "was not ready within 0.5 s" in str(silence.value)
    await eventually(lambda: rabbit_world.proxy.accepted >= 1)


async def test_a_refused_connection_names_the_place_and_the_cause(
    rabbit_world: RabbitWorld,
) -> None:
    await rabbit_world.proxy.refuse()
    broker = await rabbit_world.clients.enter_async_context(rabbit_world.broker())
    with pytest.raises(Unavailable) as refusal:
        await broker.wait_ready(0.5)
    assert f"127.0.0.1:{rabbit_world.proxy.port}" in str(refusal.value)
    assert "refused" in str(refusal.value) or "Connect call failed" in str(refusal.value)
    await rabbit_world.proxy.accept()
    await broker.wait_ready(SECONDS)


async def test_many_publishes_are_in_flight_on_a_slow_line(rabbit_world: RabbitWorld) -> None:
    broker = await ready_broker(rabbit_world)
    rabbit_world.proxy.latency = 0.02
    async with asyncio.timeout(4):  # one after another they would take 20 s
        assert await broker.publish(commands(rabbit_world.names, 500)) == [CONFIRMED] * 500


async def test_a_batch_too_large_for_the_deadline_ends_no_connection(
    rabbit_world: RabbitWorld,
) -> None:
    broker = await ready_broker(rabbit_world, publish_deadline=0.4)
    receipts = await broker.publish(commands(rabbit_world.names, 30_000))
    assert set(receipts) == {CONFIRMED, UNKNOWN}
    assert broker.is_ready()
    assert rabbit_world.proxy.accepted == 1


async def test_a_wrong_password_is_a_configuration_error_that_keeps_the_secret(
    amqp_url: str, names: Names
) -> None:
    async with _broker(_with_userinfo(amqp_url, "guest:hunter2"), names) as broker:
        with pytest.raises(ConfigurationError, match="refuses the login of 'guest'") as refusal:
            await broker.wait_ready(SECONDS)
    assert "hunter2" not in str(refusal.value)
    assert "SAGA_AMQP_URL" in str(refusal.value)


async def test_a_vhost_that_does_not_exist_is_a_configuration_error(
    amqp_url: str, names: Names
) -> None:
    url = urlsplit(amqp_url)._replace(path="/no-such-vhost").geturl()
    async with _broker(url, names) as broker:
        with pytest.raises(ConfigurationError, match=r"no-such-vhost.*check that the vhost exists"):
            await broker.wait_ready(SECONDS)


async def test_percent_encoded_credentials_work(amqp_url: str, names: Names) -> None:
    user, _, password = urlsplit(amqp_url).netloc.rpartition("@")[0].partition(":")
    encoded = "".join(f"%{byte:02X}" for byte in password.encode())
    async with _broker(_with_userinfo(amqp_url, f"{user}:{encoded}"), names) as broker:
        await broker.wait_ready(SECONDS)
        assert broker.is_ready()


async def test_connections_are_plain_named_and_two(amqp_url: str, names: Names) -> None:
    asked: list[dict[str, Any]] = []

    async def connect(**arguments: Any) -> aio_pika.abc.AbstractConnection:
        asked.append(arguments)
        return await aio_pika.connect(**arguments)

    async with _broker(amqp_url, names, connect=connect) as broker:
        await broker.wait_ready(SECONDS)
        assert len(asked) == 1
        await ready_consumer(broker, names.commands_for("TestService"))
    called = [each["client_properties"]["connection_name"] for each in asked]
    assert called == [f"{names.namespace}.test publishing", f"{names.namespace}.test consuming"]
    assert {each["heartbeat"] for each in asked} == {10}
    assert {each["timeout"] for each in asked} == {10.0}


async def test_a_deleted_queue_is_declared_and_consumed_anew(rabbit_world: RabbitWorld) -> None:
    broker = await ready_broker(rabbit_world)
    consumer = await ready_consumer(broker, _queue(rabbit_world))
    async with _operator(rabbit_world) as channel:
        await channel.queue_delete(_queue(rabbit_world))
    await eventually(lambda: not broker.is_ready())
    await broker.wait_ready(SECONDS)
    assert await broker.publish([command(rabbit_world.names, b"new")]) == [CONFIRMED]
    assert bodies(await receive(consumer, 1)) == [b"new"]


async def test_a_deleted_exchange_is_declared_when_somebody_publishes_to_it(
    rabbit_world: RabbitWorld,
) -> None:
    broker = await ready_broker(rabbit_world)
    consumer = await ready_consumer(broker, _queue(rabbit_world))
    async with _operator(rabbit_world) as channel:
        await channel.exchange_delete(rabbit_world.names.commands)
    await _publish_until_confirmed(broker, rabbit_world, b"to nowhere at first")
    assert bodies(await receive(consumer, 1)) == [b"to nowhere at first"]


async def test_a_missing_binding_is_declared_when_somebody_needs_it(
    rabbit_world: RabbitWorld,
) -> None:
    broker = await ready_broker(rabbit_world)
    consumer = await ready_consumer(broker, _queue(rabbit_world))
    async with _operator(rabbit_world) as channel:
        queue = await channel.get_queue(_queue(rabbit_world), ensure=False)
        await queue.unbind(rabbit_world.names.commands, "TestService.*")
    await _publish_until_confirmed(broker, rabbit_world, b"unroutable at first")
    assert bodies(await receive(consumer, 1)) == [b"unroutable at first"]


async def test_a_queue_that_drifts_later_stops_neither_publishing_nor_consuming(
    rabbit_world: RabbitWorld,
) -> None:
    details: list[str] = []
    broker = await ready_broker(rabbit_world, on_change=lambda _, detail: details.append(detail))
    consumer = await ready_consumer(broker, _queue(rabbit_world))
    await _drift(rabbit_world)
    await eventually(lambda: any("differs on the broker" in detail for detail in details))
    await eventually(broker.is_ready)
    assert await broker.publish([command(rabbit_world.names, b"still")]) == [CONFIRMED]
    assert bodies(await receive(consumer, 1)) == [b"still"]


async def test_a_queue_that_has_drifted_stops_the_start(rabbit_world: RabbitWorld) -> None:
    await (await ready_broker(rabbit_world)).close()
    await _drift(rabbit_world)
    broker = await rabbit_world.clients.enter_async_context(rabbit_world.broker())
    with pytest.raises(ConfigurationError) as refusal:
        await broker.wait_ready(SECONDS)
    assert f"queue {_queue(rabbit_world)!r} differs" in str(refusal.value)
    assert "x-delivery-limit" in str(refusal.value)
    assert "SAGA_TOPOLOGY" in str(refusal.value)


async def test_ignoring_the_topology_declares_nothing(rabbit_world: RabbitWorld) -> None:
    broker = await ready_broker(rabbit_world, mode=TopologyMode.IGNORE)
    assert await broker.publish([command(rabbit_world.names)]) == [UNKNOWN]


async def test_a_missing_queue_disturbs_no_other_consumer(rabbit_world: RabbitWorld) -> None:
    await ready_broker(rabbit_world)
    details: list[str] = []
    broker = await ready_broker(
        rabbit_world,
        mode=TopologyMode.IGNORE,
        on_change=lambda _, detail: details.append(detail),
    )
    consumer = await ready_consumer(broker, _queue(rabbit_world))
    missing = await broker.consume("no-such-queue", prefetch=1)
    await eventually(lambda: sum("'no-such-queue' cannot be" in text for text in details) > 1)
    await broker.publish(commands(rabbit_world.names, 2))
    deliveries = await receive(consumer, 2)
    assert [delivery.delivery_count for delivery in deliveries] == [0, 0]
    assert {delivery.session for delivery in deliveries} == {deliveries[0].session}
    await missing.close()
    assert broker.is_ready()


async def test_a_publish_that_the_broker_rejects_is_unknown(rabbit_world: RabbitWorld) -> None:
    names = rabbit_world.names
    topology = small_topology(names)
    full = tuple(
        replace(queue, arguments={**queue.arguments, "x-max-length": 1})
        for queue in topology.queues
    )
    broker = await ready_broker(rabbit_world, topology=replace(topology, queues=full))
    receipts = [receipt for _ in range(5) for receipt in await broker.publish([command(names)])]
    assert receipts[0] is CONFIRMED
    assert receipts[-1] is UNKNOWN
    assert broker.is_ready()


async def test_cancelling_a_publish_cancels_it(rabbit_world: RabbitWorld) -> None:
    broker = await ready_broker(rabbit_world)
    rabbit_world.proxy.freeze()
    publishing = asyncio.create_task(broker.publish(commands(rabbit_world.names, 10)))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    rabbit_world.proxy.thaw()
    assert await broker.publish([command(rabbit_world.names)]) == [CONFIRMED]


def _queue(world: RabbitWorld) -> str:
    return world.names.commands_for("TestService")


def _with_userinfo(url: str, userinfo: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{userinfo}@{parts.netloc.rpartition('@')[2]}").geturl()


def _broker(url: str, names: Names, **arguments: Any) -> RabbitBroker:
    topology = small_topology(names)
    mode = TopologyMode.DECLARE
    return RabbitBroker(url, names=names, topology=topology, mode=mode, app_id="test", **arguments)


@asynccontextmanager
async def _operator(world: RabbitWorld) -> AsyncIterator[AbstractChannel]:
    """Somebody with a connection of their own, past the proxy."""
    async with await aio_pika.connect(world.url, timeout=10) as connection:
        yield await connection.channel()


async def _drift(world: RabbitWorld) -> None:
    """An operator makes the queue again, with another delivery limit."""
    async with _operator(world) as channel:
        await world.proxy.refuse()
        await channel.queue_delete(_queue(world))
        queues = {queue.name: queue for queue in small_topology(world.names).queues}
        arguments: dict[str, Any] = {**queues[_queue(world)].arguments, "x-delivery-limit": 7}
        queue = await channel.declare_queue(_queue(world), durable=True, arguments=arguments)
        await queue.bind(world.names.commands, "TestService.*")
    await world.proxy.accept()


async def _publish_until_confirmed(broker: RabbitBroker, world: RabbitWorld, body: bytes) -> None:
    async with asyncio.timeout(SECONDS):
        while await broker.publish([command(world.names, body)]) != [CONFIRMED]:
            await asyncio.sleep(0.05)
