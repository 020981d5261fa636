"""Declaring, verifying and probing as `saga topology` and `saga doctor` do."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from messaging.errors import ConfigurationError, Unavailable
from messaging.rabbitmq import declare, probe, verify
from messaging.topology import Names, Topology, installation


async def test_declaring_is_repeatable_and_verifies(amqp_url: str, names: Names) -> None:
    topology = installation(names, ["TestService"])
    await declare(amqp_url, topology)
    await declare(amqp_url, topology)
    assert await verify(amqp_url, topology) == []


async def test_verifying_lists_everything_that_is_missing_and_creates_nothing(
    amqp_url: str, names: Names
) -> None:
    topology = installation(names, ["TestService"])
    count = len(topology.exchanges) + len(topology.queues)
    for _ in range(2):
        found = await verify(amqp_url, topology)
        assert len(found) == count
        assert f"queue {names.replies!r} is missing" in found


async def test_verifying_lists_what_differs(amqp_url: str, names: Names) -> None:
    topology = installation(names, [])
    await declare(amqp_url, topology)
    (found,) = await verify(amqp_url, _other_limit(topology, names.starts))
    assert f"queue {names.starts!r} differs" in found
    assert "x-delivery-limit" in found


async def test_declaring_what_differs_names_it_and_the_remedy(amqp_url: str, names: Names) -> None:
    topology = installation(names, [])
    await declare(amqp_url, topology)
    with pytest.raises(ConfigurationError, match="drain and delete it"):
        await declare(amqp_url, _other_limit(topology, names.starts))


async def test_probing_tells_what_the_broker_is(amqp_url: str) -> None:
    facts = await probe(amqp_url)
    assert facts.product == "RabbitMQ"
    assert facts.version.partition(".")[0].isdecimal()
    assert (facts.user, facts.vhost, facts.is_tls) == (urlsplit(amqp_url).username, "/", False)


async def test_probing_nobody_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 ") as silence:
        await probe("amqp://guest:hunter2@127.0.0.1:1/")
    assert "hunter2" not in str(silence.value)


def _other_limit(topology: Topology, name: str) -> Topology:
    queues = tuple(
        replace(queue, arguments={**queue.arguments, "x-delivery-limit": 7})
        if queue.name == name
        else queue
        for queue in topology.queues
    )
    return replace(topology, queues=queues)
