"""What a tap hands to whom, however the bytes come in."""

import asyncio
from time import monotonic

import pytest
from pamqp import body, commands, frame, header

from messaging import rabbit_fitness, received, wire
from messaging.rabbit_fitness import fitting_connect
from messaging.rabbit_tap import Tap, TappedConnection
from tests.conformance.worlds import RabbitWorld

OURS, THEIRS = 4, 5
SIZES = (1, 2, 7, 8, 13, 64, 1_000_000)


class Listener:
    """Notes all that it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        delivery = received.delivery_of(method, header, body, queue="q", session=1)
        self.heard.append((delivery.tag, delivery.body))

    def returned(self, header: bytes) -> None:
        self.heard.append(("returned", received.message_id_of(header)))

    def confirmed(self, tag: int, *, multiple: bool, is_refused: bool) -> None:
        self.heard.append(("refused" if is_refused else "confirmed", tag, multiple))

    def pause(self) -> None:
        """Every read has one."""

    def closed(self) -> None:
        self.heard.append("closed")


class Passed(asyncio.StreamReader):
    """The library's side: what passes the tap."""

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.data = b""

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        self.data += bytes(data)


@pytest.mark.parametrize("size", SIZES)
async def test_ours_go_to_the_listener_and_the_rest_to_the_library(size: int) -> None:
    tap, listener, passed = _tapped()
    theirs = _delivery(THEIRS, 1, b"theirs")
    qos = frame.marshal(commands.Basic.QosOk(), OURS)
    conversation = [
        theirs,
        _delivery(OURS, 1, b"one"),
        wire.HEARTBEAT,
        _delivery(OURS, 2, b""),
        qos,
        frame.marshal(commands.Basic.Ack(7, True), OURS),
        _returned(OURS, "m-1"),
        frame.marshal(commands.Basic.Nack(8, False), OURS),
        theirs,
    ]
    _feed(tap, b"".join(conversation), size)
    assert listener.heard == [
        (1, b"one"),
        (2, b""),
        ("confirmed", 7, True),
        ("returned", "m-1"),
        ("refused", 8, False),
    ]
    assert passed.data == theirs + wire.HEARTBEAT + qos + theirs


@pytest.mark.parametrize("size", SIZES[3:])
async def test_a_body_of_many_frames_arrives_whole(size: int) -> None:
    tap, listener, passed = _tapped()
    content = bytes(number % 256 for number in range(10_000))
    _feed(tap, _delivery(OURS, 3, content, cut=4088), size)
    assert listener.heard == [(3, content)]
    assert passed.data == b""


async def test_a_huge_body_costs_no_more_than_its_length() -> None:
    """The broker takes bodies of 128 MiB: while one is put together, nothing else is done."""
    tap, listener, _ = _tapped()
    content = bytes(4 * 1024 * 1024)
    conversation = _delivery(OURS, 3, content, cut=1024)
    began = monotonic()
    _feed(tap, conversation, 65_536)
    assert monotonic() - began < 1.5  # if each frame copied all before it: ten seconds
    assert listener.heard == [(3, content)]


async def test_frames_of_other_channels_may_come_between_those_of_a_delivery() -> None:
    tap, listener, passed = _tapped()
    ours = _frames(OURS, 1, b"body")
    _feed(tap, ours[0] + wire.HEARTBEAT + ours[1] + wire.HEARTBEAT + ours[2], 1_000)
    assert listener.heard == [(1, b"body")]
    assert passed.data == wire.HEARTBEAT * 2


@pytest.mark.parametrize(
    "closing",
    [commands.Channel.Close(404, "NOT_FOUND", 60, 40), commands.Channel.CloseOk()],
    ids=["by the broker", "by us"],
)
async def test_a_closed_channel_is_the_librarys_again(closing: frame.FrameTypes) -> None:
    tap, listener, passed = _tapped()
    again = _delivery(OURS, 1, b"later")
    _feed(tap, frame.marshal(closing, OURS) + again, 1_000)
    assert listener.heard == ["closed"]
    assert passed.data == frame.marshal(closing, OURS) + again


async def test_a_lost_connection_closes_every_channel() -> None:
    tap, listener, passed = _tapped()
    _feed(tap, _delivery(OURS, 1, b"whole") + b"\x01\x00", 1_000)
    tap.connection_lost(ConnectionResetError())
    assert listener.heard == [(1, b"whole"), "closed"]
    assert passed.data == b"\x01\x00"  # the library says how it was cut


async def test_a_broker_of_another_protocol_is_the_librarys_affair() -> None:
    tap, _, passed = _tapped()
    _feed(tap, b"AMQP\x00\x00\x09\x01and more", 3)
    assert passed.data == b"AMQP\x00\x00\x09\x01and more"


async def test_the_library_hears_that_the_broker_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    tap, _, passed = _tapped()
    now = asyncio.get_running_loop().time() + 100
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    _feed(tap, _delivery(OURS, 1, b"ours") * 3, 1_000)
    assert passed.data == wire.HEARTBEAT


async def test_this_library_can_be_tapped() -> None:
    rabbit_fitness.is_fit.cache_clear()
    assert rabbit_fitness.is_fit()


@pytest.mark.rabbitmq
async def test_a_connection_to_a_real_broker_is_tapped(rabbit_world: RabbitWorld) -> None:
    async with await fitting_connect(url=rabbit_world.url) as connection:
        assert isinstance(connection, TappedConnection)
        assert connection.tap is not None


async def test_a_library_that_has_changed_inside_is_used_the_plain_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def other(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(Tap, "data_received", other)
    rabbit_fitness.is_fit.cache_clear()
    try:
        assert not rabbit_fitness.is_fit()
    finally:
        rabbit_fitness.is_fit.cache_clear()
    assert "cannot be tapped (AttributeError: no such thing)" in caplog.text


def _tapped() -> tuple[Tap, Listener, Passed]:
    passed, listener = Passed(), Listener()
    tap = Tap(passed, asyncio.get_running_loop())
    tap.listen(OURS, listener)
    _feed(tap, wire.HEARTBEAT, 8)  # the library has just heard of the broker
    passed.data = b""
    return tap, listener, passed


def _feed(tap: Tap, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        tap.data_received(data[start : start + size])


def _delivery(channel: int, tag: int, content: bytes, *, cut: int = 4088) -> bytes:
    return b"".join(_frames(channel, tag, content, cut=cut))


def _frames(channel: int, tag: int, content: bytes, *, cut: int = 4088) -> list[bytes]:
    properties = commands.Basic.Properties(message_id="m")
    pieces = [content[start : start + cut] for start in range(0, len(content), cut)]
    return [
        frame.marshal(commands.Basic.Deliver("tag", tag, False, "x", "k"), channel),
        frame.marshal(header.ContentHeader(0, len(content), properties), channel),
        *(frame.marshal(body.ContentBody(piece), channel) for piece in pieces),
    ]


def _returned(channel: int, message_id: str) -> bytes:
    properties = commands.Basic.Properties(message_id=message_id)
    parts = (
        commands.Basic.Return(312, "NO_ROUTE", "x", "k"),
        header.ContentHeader(0, 4, properties),
        body.ContentBody(b"body"),
    )
    return b"".join(frame.marshal(part, channel) for part in parts)
