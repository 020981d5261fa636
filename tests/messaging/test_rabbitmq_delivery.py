"""From the library's messages to deliveries, whatever the properties are."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from messaging.port import Delivery
from messaging.rabbit_delivery import delivery_of


def test_a_message_without_properties_is_a_delivery() -> None:
    delivery = _delivery(Basic.Properties())
    assert (delivery.queue, delivery.session, delivery.tag) == ("q", 3, 7)
    assert (delivery.exchange, delivery.routing_key, delivery.body) == ("x", "k", b"body")
    assert (delivery.type, delivery.message_id, delivery.timestamp) == (None, None, None)
    assert (delivery.redelivered, delivery.delivery_count) == (True, 0)
    assert delivery.headers == {}


@pytest.mark.parametrize(("count", "seen"), [(3, 3), (0, 0), (-1, 0), ("many", 0), (None, 0)])
def test_the_delivery_count_is_a_number_whatever_the_header_says(count: Any, seen: int) -> None:
    delivery = _delivery(Basic.Properties(headers={"x-delivery-count": count, "own": 1}))
    assert delivery.delivery_count == seen
    assert delivery.headers == {"own": 1}


def test_bytes_become_text_with_escapes_at_any_depth() -> None:
    headers: Any = {"a": b"\xff!", "b": [b"ok", {"c": bytearray(b"\xfe")}], "d": 1.5}
    delivery = _delivery(Basic.Properties(headers=headers))
    assert delivery.headers == {"a": "\\xff!", "b": ["ok", {"c": "\\xfe"}], "d": 1.5}


def test_a_timestamp_without_a_zone_is_taken_as_utc() -> None:
    naive = datetime(2030, 1, 2, 3, 4, 5)  # noqa: DTZ001 - what is tested
    assert _delivery(Basic.Properties(timestamp=naive)).timestamp == naive.replace(tzinfo=UTC)


def _delivery(properties: Basic.Properties) -> Delivery:
    deliver = Basic.Deliver(
        consumer_tag="c", delivery_tag=7, redelivered=True, exchange="x", routing_key="k"
    )
    message = DeliveredMessage(
        delivery=deliver,
        header=ContentHeader(properties=properties),
        body=b"body",
        channel=cast("AbstractChannel", None),
    )
    return delivery_of(message, queue="q", session=3)
