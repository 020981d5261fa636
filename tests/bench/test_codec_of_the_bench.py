"""The benchmark's own codec says on the network what pamqp says."""

import pytest
from pamqp import body, commands, frame, header

from bench.codec import Confirm, Decoder, Delivery, Post, encode, encode_ack, entries, entry

HEADERS = {"saga-type": "BenchLine", "saga-attempt": 1, "saga-deadline": "2030-01-01T00:00:00Z"}


def _by_pamqp(method: commands.Basic.Publish | commands.Basic.Deliver, content: bytes) -> bytes:
    properties = commands.Basic.Properties(
        content_type="application/json",
        headers={"saga-type": "BenchLine"},
        delivery_mode=2,
        correlation_id="saga-1",
        message_id="m-1",
        message_type="BenchA.Do",
    )
    frames = [
        frame.marshal(method, 1),
        frame.marshal(header.ContentHeader(0, len(content), properties), 1),
    ]
    cuts = range(0, len(content), 131_064)
    frames += [frame.marshal(body.ContentBody(content[at : at + 131_064]), 1) for at in cuts]
    return b"".join(frames)


def _delivered(content: bytes) -> bytes:
    method = commands.Basic.Deliver("ctag", 7, False, "saga.commands", "BenchA.Do")
    return _by_pamqp(method, content)


@pytest.mark.parametrize("size", [0, 1, 350, 131_064, 131_065, 300_000])
def test_a_publish_has_the_bytes_that_pamqp_makes(size: int) -> None:
    content = b"x" * size
    post = Post("saga.commands", "BenchA.Do", b"saga-1", content, entry("saga-type", "BenchLine"))
    publish = commands.Basic.Publish(
        exchange="saga.commands", routing_key="BenchA.Do", mandatory=True
    )
    assert encode(post, b"m-1") == _by_pamqp(publish, content)


@pytest.mark.parametrize("size", [0, 350, 300_000])
@pytest.mark.parametrize("cut", [1, 1000, 1_000_000])
def test_a_delivery_is_read_however_it_is_cut(size: int, cut: int) -> None:
    content = b"x" * size
    data = _delivered(content) * 2
    decoder = Decoder()
    step = cut if size < 1000 else max(cut, 997)
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    found = [each for piece in pieces for each in decoder.feed(piece)]
    expected = Delivery(7, b"BenchA.Do", b"saga-1", entry("saga-type", "BenchLine"), content)
    assert found == [expected, expected]


def test_a_confirm_is_read_and_an_acknowledgement_written() -> None:
    acks = frame.marshal(commands.Basic.Ack(5, True), 1) + frame.marshal(commands.Basic.Ack(7), 1)
    assert Decoder().feed(acks) == [Confirm(5, True), Confirm(7, False)]
    assert encode_ack(9) == frame.marshal(commands.Basic.Ack(9, True), 1)


def test_other_methods_are_read_by_pamqp() -> None:
    [found] = Decoder().feed(frame.marshal(commands.Basic.ConsumeOk("ctag"), 1))
    assert isinstance(found, commands.Basic.ConsumeOk)


def test_entries_of_a_table_are_kept_as_they_came() -> None:
    properties = commands.Basic.Properties(headers={**HEADERS, "nested": {"a": [1, True]}})
    raw = frame.marshal(header.ContentHeader(0, 0, properties), 1)
    [found] = Decoder().feed(
        frame.marshal(commands.Basic.Deliver("c", 1, False, "e", "k"), 1) + raw
    )
    assert isinstance(found, Delivery)
    table = entries(found.headers)
    assert list(table) == [b"nested", b"saga-attempt", b"saga-deadline", b"saga-type"]
    assert table[b"saga-type"] == entry("saga-type", "BenchLine")
    assert b"".join(table.values()) == found.headers
