"""Settling what has been dealt with: publish, then acknowledge."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chassis.facts import Fact
from messaging.memory import MemoryBroker, MemoryServer
from messaging.port import Outgoing
from messaging.topology import Names, TopologyMode, installation
from participants.settling import Settlement, Settler
from tests.conformance.worlds import command, eventually, ready_consumer, receive

NAMES = Names("t")
TRIED_FOR_LONG = 9  # the next try is 15 seconds off, at least


@pytest.fixture
async def broker() -> AsyncIterator[MemoryBroker]:
    topology = installation(NAMES, ("TestService",))
    mode = TopologyMode.DECLARE
    broker = MemoryBroker(MemoryServer(), names=NAMES, topology=topology, mode=mode, app_id="t")
    async with broker:
        yield broker


async def test_what_waits_for_its_next_try_does_not_hold_up_the_drain(broker: MemoryBroker) -> None:
    queue = NAMES.commands_for("TestService")
    consumer = await ready_consumer(broker, queue)
    await broker.publish([command(NAMES)])
    [delivery] = await receive(consumer, 1)
    nobody_s = Outgoing(exchange=NAMES.replies, routing_key="nobody", type="nobody", body=b"{}")
    facts: list[Fact] = []
    settler = Settler(broker, consumer, facts.append)
    settling = asyncio.create_task(settler.run())
    settler.put(Settlement(delivery=delivery, message=nobody_s, tries=TRIED_FOR_LONG))
    await eventually(lambda: len(facts) > 1)
    async with asyncio.timeout(5):
        await settler.drain()
    settling.cancel()
    await consumer.close()
    again = await receive(await ready_consumer(broker, queue), 1)
    assert [each.redelivered for each in again] == [True]
