"""Messages that the broker itself refuses, among others that it takes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from servers.rabbit import PrivateRabbit

from messaging.port import Broker, Outgoing, Receipt
from messaging.rabbit_fitness import fitting_connect, plain_connect
from messaging.rabbit_session import Connect
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, TopologyMode, installation
from tests.conformance.worlds import SECONDS, command, commands
from tests.faults.proxy import FaultProxy

CONFIRMED, UNKNOWN, UNROUTABLE = Receipt.CONFIRMED, Receipt.UNKNOWN, Receipt.UNROUTABLE
NAMES = Names("t")
LARGEST = 65_536
FORBIDDEN = command(NAMES, routing_key="OtherService.Do", type="OtherService.Do")
HUGE = command(NAMES, bytes(LARGEST + 1))
pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.parametrize("connect", [fitting_connect, plain_connect], ids=["bulk", "plain"]),
]


@pytest.fixture(scope="module")
def strict(amqp_url: str) -> Iterator[PrivateRabbit]:
    """Takes no large messages, and of commands only those for TestService."""
    assert amqp_url
    with PrivateRabbit(settings={"max_message_size": str(LARGEST)}) as server:
        keys = ("^TestService\\..*", ".*")
        server.rabbitmqctl("set_topic_permissions", "-p", "/", "test", NAMES.commands, *keys)
        yield server


def broker_at(url: str, connect: Connect, **arguments: Any) -> RabbitBroker:
    topology = installation(NAMES, ("TestService", "OtherService"))
    arguments = {"names": NAMES, "topology": topology, "app_id": "test", **arguments}
    return RabbitBroker(url, mode=TopologyMode.DECLARE, connect=connect, **arguments)


@pytest.fixture
async def broker(strict: PrivateRabbit, connect: Connect) -> AsyncIterator[Broker]:
    async with broker_at(strict.url, connect) as broker:
        await broker.wait_ready(SECONDS)
        yield broker


@pytest.mark.parametrize("refused", [FORBIDDEN, HUGE], ids=["its routing key", "its size"])
async def test_what_the_broker_refuses_does_not_hold_up_the_others(
    broker: Broker, refused: Outgoing
) -> None:
    """The first time nobody knows which it was, nor whether others have arrived."""
    batch = [*commands(NAMES, 3), refused, *commands(NAMES, 3)]
    assert list(await broker.publish(batch))[3:] == [UNKNOWN] * 4
    taken = [CONFIRMED] * 3
    assert list(await broker.publish(batch)) == [*taken, UNROUTABLE, *taken]
    assert list(await broker.publish([refused])) == [UNROUTABLE]


async def test_once_nothing_is_refused_messages_travel_together_again(broker: Broker) -> None:
    assert UNKNOWN in await broker.publish([FORBIDDEN, *commands(NAMES, 3)])
    for _ in range(2):
        assert list(await broker.publish(commands(NAMES, 3))) == [CONFIRMED] * 3
    assert list(await broker.publish([FORBIDDEN])) == [UNKNOWN]


async def test_other_exchanges_do_not_notice(broker: Broker) -> None:
    reply = replace(FORBIDDEN, exchange=NAMES.replies, routing_key="SagaStepCompleted")
    assert list(await broker.publish([FORBIDDEN, reply])) == [UNKNOWN, CONFIRMED]
    assert list(await broker.publish([FORBIDDEN, reply])) == [UNROUTABLE, CONFIRMED]


async def test_who_waits_for_a_turn_does_not_take_the_broker_for_dead(
    strict: PrivateRabbit, connect: Connect
) -> None:
    changes: list[tuple[bool, str]] = []
    async with FaultProxy("127.0.0.1", strict.port) as proxy:
        broker = broker_at(
            proxy.url(strict.url),
            connect,
            publish_deadline=2.0,
            on_change=lambda up, detail: changes.append((up, detail)),
        )
        async with broker:
            await broker.wait_ready(SECONDS)
            assert UNKNOWN in await broker.publish([FORBIDDEN])
            proxy.latency = 0.05  # too much for all of them to have their turn
            await asyncio.gather(*(broker.publish(commands(NAMES, 50)) for _ in range(3)))
            proxy.latency = 0.0
            assert list(await broker.publish(commands(NAMES, 5))) == [CONFIRMED] * 5
            assert [up for up, _ in changes] == [True]


async def test_an_exchange_that_is_forbidden_is_waited_for(
    broker: Broker, strict: PrivateRabbit
) -> None:
    allow = ("set_permissions", "-p", "/", "test", ".*")
    strict.rabbitmqctl(*allow, "^$", ".*")
    for _ in range(3):
        assert list(await broker.publish(commands(NAMES, 2))) == [UNKNOWN] * 2
    strict.rabbitmqctl(*allow, ".*", ".*")
    assert list(await broker.publish(commands(NAMES, 2))) == [CONFIRMED] * 2
