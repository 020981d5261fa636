"""What we write, the client library reads; what the library writes, we read."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from messaging import lenient, received, wire
from messaging.poison import poison
from messaging.port import Delivery, Outgoing

CHANNEL = 3
SECONDS = 1_900_000_000
EMPTY_HEADER = b"\x00\x3c" + bytes(12)


def test_a_publish_is_read_as_it_was_meant() -> None:
    message = _message(headers={"saga-step": "pay", "saga-attempt": 2, "grün": "ß", "": ""})
    publish, header, body = _read(_encoder().publish(message, message_id="m-1", seconds=SECONDS))
    assert (publish.exchange, publish.routing_key) == ("test.commands", "Service.Do")
    assert publish.mandatory
    assert not publish.immediate
    assert header.body_size == len(message.body)
    properties = header.properties
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert (properties.correlation_id, properties.message_id) == ("saga-1", "m-1")
    assert (properties.message_type, properties.app_id) == ("Service.Do", "app")
    assert (properties.user_id, properties.timestamp) == (
        "guest",
        datetime.fromtimestamp(SECONDS, UTC),
    )
    assert properties.headers == message.headers
    assert body.value == message.body


def test_what_is_not_said_is_not_there() -> None:
    encoder = _encoder(app_id="", user_id=None)
    message = _message(type="", correlation_id=None, mandatory=False, body=b"")
    publish, header = _read(encoder.publish(message, message_id="m", seconds=0))
    assert not publish.mandatory
    for name in ("message_type", "correlation_id", "app_id", "user_id"):
        assert getattr(header.properties, name) is None
    assert header.body_size == 0


@pytest.mark.parametrize("size", [4087, 4088, 4089, 8176, 20_000])
def test_a_body_is_cut_to_the_size_of_a_frame(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    data = _encoder(frame_max=4096).publish(_message(body=content), message_id="m", seconds=0)
    _, header, *bodies = _read(data)
    assert header.body_size == size
    assert b"".join(body.value for body in bodies) == content
    assert all(len(body.value) <= 4088 for body in bodies)


@pytest.mark.parametrize("number", [0, -1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63), True])
def test_every_number_of_64_bits_travels(number: int) -> None:
    data = _encoder().publish(_message(headers={"n": number}), message_id="m", seconds=0)
    assert _read(data)[1].properties.headers == {"n": number}


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": {"n": 2**63}},
        {"headers": {"text": "\ud800"}},
        {"correlation_id": "x" * 256},
        {"routing_key": "x" * 256},
        {"type": "ä" * 128},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_no_frame_can_carry_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        _encoder().publish(_message(**changes), message_id="m", seconds=0)


def test_a_key_that_is_too_long_is_cut_between_characters() -> None:
    data = _encoder().publish(_message(headers={"ä" * 100: "v"}), message_id="m", seconds=0)
    assert _read(data)[1].properties.headers == {"ä" * 64: "v"}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("saga.events", True), ("", True), ("a" * 127, True), ("a" * 128, False), ("a b", False)],
)
def test_names_of_exchanges(name: str, is_one: bool) -> None:
    assert wire.is_exchange(name) is is_one


def test_settlements_are_read_as_they_were_meant() -> None:
    [ack] = _read(wire.ack(CHANNEL, 2**40, multiple=True))
    assert (ack.name, ack.delivery_tag, ack.multiple) == ("Basic.Ack", 2**40, True)
    [reject] = _read(wire.reject(CHANNEL, 7))
    assert (reject.name, reject.delivery_tag, reject.requeue) == ("Basic.Reject", 7, True)


def test_confirms_are_read() -> None:
    payload = frame.marshal(commands.Basic.Ack(9, True), CHANNEL)[7:-1]
    assert wire.settlement(payload) == (9, True)


@pytest.mark.parametrize("sample", list(poison(lenient.MAX_DEPTH)), ids=lambda sample: sample.name)
def test_malformed_frames_are_read_leniently(sample: Any) -> None:
    method = _method()
    header = EMPTY_HEADER
    if sample.attribute == "routing_key":
        delivery = received.delivery_of(sample.payload, header, b"", queue="q", session=1)
    else:
        delivery = received.delivery_of(method, sample.payload, b"", queue="q", session=1)
    attribute = sample.attribute.rpartition(".")[2].replace("message_type", "type")
    assert getattr(delivery, attribute) == sample.expected


@pytest.mark.parametrize("number", [0, -1, 2**31 - 1, -(2**31), 2**31, -(2**63), True])
def test_headers_of_any_kind_come_back(number: int) -> None:
    headers = {"n": number, "text": "ß"}
    data = _encoder().publish(_message(headers=headers), message_id="m", seconds=SECONDS)
    delivery = _delivered(data)
    assert delivery.headers == headers
    assert (delivery.message_id, delivery.app_id) == ("m", "app")
    assert delivery.timestamp == datetime.fromtimestamp(SECONDS, UTC)


@pytest.mark.parametrize("size", range(60))
def test_a_header_that_is_cut_off_is_read_as_far_as_it_goes(size: int) -> None:
    data = _encoder().publish(_message(headers={"n": 7}), message_id="m", seconds=SECONDS)
    cut = _payload_of_header(data)[: len(EMPTY_HEADER) + size]
    delivery = received.delivery_of(_method(), cut, b"", queue="q", session=1)
    assert delivery.headers in ({}, {"n": 7})


def _delivered(data: bytes) -> Delivery:
    header = _payload_of_header(data)
    return received.delivery_of(_method(), header, b"", queue="q", session=1)


def _method() -> bytes:
    return frame.marshal(commands.Basic.Deliver("tag", 5, False, "x", "key"), CHANNEL)[7:-1]


def _payload_of_header(data: bytes) -> bytes:
    """Of the second frame."""
    start = wire.FRAME.size + wire.FRAME.unpack_from(data)[2] + len(wire.END)
    size = wire.FRAME.unpack_from(data, start)[2]
    return data[start + wire.FRAME.size :][:size]


def _message(**changes: Any) -> Outgoing:
    said: dict[str, Any] = {
        "exchange": "test.commands",
        "routing_key": "Service.Do",
        "type": "Service.Do",
        "body": b'{"saga_id": "saga-1"}',
        "correlation_id": "saga-1",
    }
    return Outgoing(**said | changes)


def _encoder(**changes: Any) -> wire.Encoder:
    said: dict[str, Any] = {
        "channel": CHANNEL,
        "exchange": "test.commands",
        "app_id": "app",
        "user_id": "guest",
        "frame_max": 131_072,
    }
    return wire.Encoder(**said | changes)


def _read(data: bytes) -> list[Any]:
    """The frames as the client library reads them."""
    lenient.install()
    read: list[Any] = []
    while data:
        size, channel, unmarshalled = frame.unmarshal(data)
        assert channel == CHANNEL
        assert isinstance(unmarshalled, ContentHeader | ContentBody | commands.Basic.Publish) or (
            unmarshalled.name in {"Basic.Ack", "Basic.Reject"}
        )
        read.append(unmarshalled)
        data = data[size:]
    return read
