"""`saga topology`, on a real broker in a namespace of the test's own."""

import asyncio
import json

import aio_pika
import pytest
from command_lines import Saga, only_line

from messaging.definitions import definitions
from messaging.topology import Names

MODULE = "orchestrator.examples.order_fulfillment"
PARTICIPANTS = ("InventoryService", "NotificationService", "PaymentService", "ShippingService")


@pytest.fixture
def namespace(names: Names, amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> Names:
    """The settings name the test's own namespace on the real broker."""
    monkeypatch.setenv("SAGA_AMQP_URL", amqp_url)
    monkeypatch.setenv("SAGA_NAMESPACE", names.namespace)
    return names


async def declare_otherwise(url: str, queue: str) -> None:
    async with await aio_pika.connect(url, timeout=10) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})


def test_a_topology_is_shown_without_a_broker(saga: Saga, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_AMQP_URL", "amqp://nobody:nothing@127.0.0.1:1/")
    monkeypatch.setenv("SAGA_NAMESPACE", "shop")
    value = saga("topology", "show", MODULE, "-o", "json").value
    assert {each["name"] for each in value["queues"]} == {
        *("shop.starts", "shop.replies", "shop.dead-letters"),
        *(f"shop.commands.{participant}" for participant in PARTICIPANTS),
    }
    page = saga("topology", "show", MODULE).out
    assert "shop.commands  PaymentService.*" in page
    assert "queue-type=quorum delivery-limit=20" in page


def test_without_definitions_no_participant_is_known(saga: Saga) -> None:
    value = saga("topology", "show", "-o", "json").value
    assert [each["name"] for each in value["queues"]] == [
        "saga.starts",
        "saga.replies",
        "saga.dead-letters",
    ]


def test_definitions_are_those_of_the_code(saga: Saga) -> None:
    ran = saga("topology", "definitions", MODULE, "--vhost", "shop", "--broker", "3")
    assert json.loads(ran.out) == definitions(Names(), PARTICIPANTS, vhost="shop", broker_major=3)
    bounded = saga("topology", "definitions", MODULE, "--max-queue-bytes", "1000").value
    assert bounded["policies"][0]["definition"] == {"max-length-bytes": 1000}
    assert saga("topology", "definitions", MODULE, "-o", "json").value["vhosts"] == [{"name": "/"}]


def test_what_is_missing_is_told_then_declared_then_as_it_should_be(
    saga: Saga, namespace: Names
) -> None:
    ran = saga("topology", "verify", MODULE)
    assert ran.code == 78
    assert f"queue '{namespace.starts}' is missing" in ran.out.splitlines()
    ran = saga("topology", "declare", MODULE)
    assert ran.code == 0
    assert only_line(ran.out) == "5 exchanges, 7 queues and 12 bindings are on the broker"
    ran = saga("topology", "verify", MODULE, "-o", "json")
    assert (ran.code, ran.value) == (0, {"is_as_it_should_be": True, "differences": []})
    assert "are as they should be" in only_line(saga("topology", "verify", MODULE).out)


def test_what_differs_is_named_and_not_touched(saga: Saga, namespace: Names, amqp_url: str) -> None:
    asyncio.run(declare_otherwise(amqp_url, namespace.replies))
    ran = saga("topology", "declare")
    assert (ran.code, ran.out) == (78, "")
    assert f"queue '{namespace.replies}' differs" in only_line(ran.err)
    ran = saga("topology", "verify", "-o", "json")
    assert ran.code == 78
    assert any(f"queue '{namespace.replies}' differs" in each for each in ran.value["differences"])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("{user}:wrong@{host}/", "check the user and the password in SAGA_AMQP_URL"),
        ("{login}@{host}/not-there", "check that the vhost exists"),
    ],
)
def test_a_broker_that_lets_nobody_in_is_a_wrong_configuration(
    place: str, words: str, saga: Saga, amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login, _, address = amqp_url.partition("://")[2].rpartition("@")
    parts = {"login": login, "user": login.partition(":")[0], "host": address.partition("/")[0]}
    monkeypatch.setenv("SAGA_AMQP_URL", f"amqp://{place.format(**parts)}")
    ran = saga("topology", "verify")
    assert ran.code == 78
    assert words in only_line(ran.err)
    assert "wrong" not in ran.err
