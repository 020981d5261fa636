"""Names and headers that are not quite right pass, or do not, on every broker alike."""

from typing import Any

import pytest

from messaging.port import Receipt
from tests.conformance.worlds import BrokerWorld, command, ready_broker, ready_consumer, receive

SURROGATE = "a\ud800b"
KEY = "TestService."


@pytest.mark.parametrize(
    "odd",
    [
        {"routing_key": KEY + SURROGATE},
        {"routing_key": KEY + "x" * 244},
        {"routing_key": KEY + "é" * 122},
        {"type": SURROGATE},
        {"type": "é" * 128},
        {"correlation_id": SURROGATE},
        {"correlation_id": "x" * 256},
        {"headers": {"saga-type": SURROGATE}},
        {"headers": {SURROGATE: "x"}},
        {"headers": {"saga-attempt": 2**63}},
        {"headers": {"saga-attempt": -(2**63) - 1}},
        {"exchange": "no\0where"},
        {"exchange": "x" * 128},
    ],
    ids=lambda odd: ascii(odd)[:60],
)
async def test_what_has_no_place_in_a_frame_is_unroutable(
    broker_world: BrokerWorld, odd: dict[str, Any]
) -> None:
    broker = await ready_broker(broker_world)
    good = command(broker_world.names)
    receipts = await broker.publish([good, command(broker_world.names, **odd), good])
    assert receipts == [Receipt.CONFIRMED, Receipt.UNROUTABLE, Receipt.CONFIRMED]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"routing_key": KEY + "a\0b"}, {"routing_key": KEY + "a\\x00b"}),
        ({"routing_key": KEY + "\x1b[31m\n"}, {"routing_key": KEY + "\x1b[31m\n"}),
        ({"routing_key": KEY}, {"routing_key": KEY}),
        ({"type": "a\0b"}, {"type": "a\\x00b"}),
        ({"type": ""}, {"type": None}),
        ({"type": "\U0001f600"}, {"type": "\U0001f600"}),
        ({"correlation_id": "\0"}, {"correlation_id": "\\x00"}),
        ({"correlation_id": ""}, {"correlation_id": None}),
        ({"headers": {"saga-type": "a\0b"}}, {"headers": {"saga-type": "a\0b"}}),
        ({"headers": {"a\0b": ""}}, {"headers": {"a\\x00b": ""}}),
        ({"headers": {"é" * 200: "x" * 300}}, {"headers": {"é" * 64: "x" * 300}}),
        ({"headers": {"n": -(2**63)}}, {"headers": {"n": -(2**63)}}),
    ],
    ids=lambda fields: ascii(fields)[:60],
)
async def test_an_odd_text_is_read_the_same_everywhere(
    broker_world: BrokerWorld, sent: dict[str, Any], read: dict[str, Any]
) -> None:
    broker = await ready_broker(broker_world)
    queue = broker_world.names.commands_for("TestService")
    receipts = await broker.publish([command(broker_world.names, **sent)])
    (delivery,) = await receive(await ready_consumer(broker, queue), 1)
    assert receipts == [Receipt.CONFIRMED]
    assert {name: getattr(delivery, name) for name in read} == read
