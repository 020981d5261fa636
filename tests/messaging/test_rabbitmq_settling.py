"""Settling that takes its time, while the connection is lost and built anew."""

import asyncio
from typing import Any

import pytest

from messaging.rabbit_consumer import RabbitConsumer
from messaging.rabbit_fitness import plain_connect
from tests.conformance.worlds import (
    RabbitWorld,
    bodies,
    commands,
    ready_broker,
    ready_consumer,
    receive,
)


@pytest.mark.parametrize("settles", ["ack", "release"])
async def test_what_is_settled_late_settles_nothing_of_the_next_session(
    rabbit_world: RabbitWorld, monkeypatch: pytest.MonkeyPatch, settles: str
) -> None:
    """On the plain way, whose writes may have to wait. Tags count from one again."""
    broker = await ready_broker(rabbit_world, connect=plain_connect)
    queue = rabbit_world.names.commands_for("TestService")
    consumer = await ready_consumer(broker, queue)
    assert isinstance(consumer, RabbitConsumer)
    await broker.publish(commands(rabbit_world.names, 3))
    _, second, third = await receive(consumer, 3)
    is_written = asyncio.Event()
    name = {"ack": "ack", "release": "reject"}[settles]
    settle = getattr(consumer._feed, name)

    async def slowly(*arguments: Any, **named: Any) -> None:
        await is_written.wait()
        await settle(*arguments, **named)

    monkeypatch.setattr(consumer._feed, name, slowly)
    settling = asyncio.create_task(getattr(consumer, settles)([second, third]))
    await asyncio.sleep(0)
    rabbit_world.lose_connections()
    again = await receive(consumer, 3)
    assert [each.delivery_count for each in again] == [1, 1, 1]
    is_written.set()
    await settling
    assert list(consumer._unsettled) == [each.tag for each in again]
    await consumer.ack(again[:1])
    await consumer.close()
    others = await receive(await ready_consumer(broker, queue), 2)
    assert bodies(others) == [b"1", b"2"]
    assert [each.delivery_count for each in others] == [2, 2]
