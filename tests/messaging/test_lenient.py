"""Malformed frames that brokers accept are read, by the decoders and on the real wire."""

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import aio_pika
import pytest
from pamqp import commands, decode, frame
from pamqp.header import ContentHeader

from messaging import codec, lenient
from messaging.errors import ConfigurationError, ProtocolError
from messaging.poison import nested_arrays, nested_tables, poison, short_text, sized
from messaging.port import Delivery
from messaging.rabbitmq import RabbitBroker
from messaging.topology import Names, TopologyMode, installation
from tests.conformance.worlds import SECONDS, receive
from tests.corpus import DESTINATION, entries
from tests.corpus.publishing import publish
from tests.corpus.raw_amqp import (
    RAW_CASES,
    REFUSED_CASES,
    RawConnection,
    RefusedByBrokerError,
    publish_raw,
)

PARTICIPANT = DESTINATION.partition(".")[0]
ORIGINALS = {
    "shortstr": decode.short_str,
    "timestamp": decode.timestamp,
    "table": decode.field_table,
    "array": decode.field_array,
}


@pytest.fixture
def strict() -> Iterator[None]:
    """pamqp as it was made, and lenient again afterwards."""
    decode.METHODS.update(ORIGINALS)  # type: ignore[arg-type]  # as pamqp itself has them
    decode.TABLE_MAPPING.update({b"T": decode.timestamp, b"F": decode.field_table})
    decode.TABLE_MAPPING[b"A"] = decode.field_array
    yield
    lenient.install()


@pytest.fixture
def patched() -> None:
    lenient.install()


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("sample", list(poison(lenient.MAX_DEPTH)), ids=lambda each: each.name)
def test_every_sample_would_end_a_connection_without_us(sample: Any) -> None:
    assert sample.problem()
    lenient.install()
    assert sample.problem() is None


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("missing", ["shortstr", "timestamp", "table"])
def test_a_decoder_that_is_not_replaced_is_found_and_named(missing: str) -> None:
    lenient.install()
    decode.METHODS[missing] = ORIGINALS[missing]  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match=r"pamqp 4.* does not survive .*install the"):
        lenient.self_test()


@pytest.mark.usefixtures("strict")
def test_installing_again_changes_nothing() -> None:
    lenient.install()
    once = dict(decode.METHODS), dict(decode.TABLE_MAPPING)
    lenient.install()
    assert (dict(decode.METHODS), dict(decode.TABLE_MAPPING)) == once
    lenient.self_test()


def test_a_good_table_is_read_as_pamqp_reads_it() -> None:
    values = (
        b"\x01at\x01\x01bb\xff\x01cs\xff\xff\x01dl" + b"\xff" * 8 + b"\x01ed" + b"\x40" * 8,
        b"\x01fD\x02\0\0\0\x01\x01gS" + sized("ü".encode()) + b"\x01hV\x01ix" + sized(b"\xff"),
        b"\x01jT" + struct.pack(">Q", 1_700_000_000) + b"\x01kF" + sized(b"\x01at\0"),
        b"\x01lA" + sized(b"b\x01S" + sized(b"x") + b"F" + sized(b"")),
    )
    table = sized(b"".join(values))
    assert lenient.table(table + b"rest") == decode.field_table(table + b"rest")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (b"\x01at\x01\x01bQ\0\0\0\0", {"a": True}),
        (b"\x01at\x01\x01bS\0\0\xff\xff", {"a": True}),
        (b"\x01at\x01\x05b", {"a": True}),
        (b"\x01at\x01\x01bF\0\0", {"a": True}),
        (b"\x01at\x01\x01bA" + sized(b"t\x01Q"), {"a": True, "b": [True]}),
        (b"\x01a", {}),
    ],
)
@pytest.mark.usefixtures("patched")
def test_of_a_table_that_breaks_off_the_beginning_is_read(
    entries: bytes, expected: dict[str, Any]
) -> None:
    assert lenient.table(sized(entries)) == (4 + len(entries), expected)


@pytest.mark.usefixtures("patched")
def test_what_comes_after_a_cut_is_still_read() -> None:
    entries = nested_tables(20) + b"\x01zb\x07" + b"\x01yA" + sized(nested_arrays(20) + b"b\x01")
    _, table = lenient.table(sized(entries))
    assert table["z"] == 7
    assert table["y"][1] == 1


def test_a_wide_table_takes_time_in_proportion_to_its_size() -> None:
    entry = b"\x01aF" + sized(b"\x01bb\x01")
    _, table = lenient.array(sized((b"F" + sized(b"\x01bb\x01")) * 12_000))
    assert len(table) == 12_000
    assert lenient.table(sized(entry * 12_000))[1] == {"a": {"b": 1}}


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\x05a"])
def test_a_table_whose_length_is_wrong_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="length"):
        lenient.table(value)


def test_nul_in_a_short_text_is_escaped_since_no_database_takes_it() -> None:
    assert lenient.short_text(short_text(b"a\0b") + b"rest") == (4, "a\\x00b")


def test_a_timestamp_that_breaks_off_is_an_error() -> None:
    with pytest.raises(ValueError, match="timestamp"):
        lenient.moment(b"\0\0\0")


@pytest.mark.usefixtures("patched")
def test_good_frames_are_read_as_before() -> None:
    properties = commands.Basic.Properties(
        content_type="application/json", message_id="é", headers={"a": [1, {"b": "c"}]}
    )
    sent = frame.marshal(ContentHeader(body_size=3, properties=properties), 1)
    _, _, received = frame.unmarshal(sent)
    assert isinstance(received, ContentHeader)
    assert received.properties == properties


@pytest.mark.rabbitmq
async def test_raw_messages_pass_the_real_broker_and_meet_their_fate(
    amqp_url: str, names: Names
) -> None:
    async with _broker(amqp_url, names) as broker:
        await broker.wait_ready(SECONDS)
        await asyncio.to_thread(_publish_raw_cases, amqp_url, names)
        for queue, decoder in (
            (names.replies, codec.decode_reply),
            (names.commands_for(PARTICIPANT), codec.decode_command),
        ):
            expected = [case for case in RAW_CASES if queue.startswith(case.exchange(names))]
            consumer = await broker.consume(queue, prefetch=100)
            deliveries = await receive(consumer, len(expected))
            for case, delivery in zip(expected, deliveries, strict=True):
                assert (case.name, _fate(decoder, delivery)) == (case.name, case.expected)
            await consumer.ack(deliveries)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("queue", ["replies", "starts", "commands"])
async def test_the_corpus_passes_the_real_broker_and_meets_its_fate(
    amqp_url: str, names: Names, queue: str
) -> None:
    corpus = entries(queue)
    async with _broker(amqp_url, names) as broker, await aio_pika.connect(amqp_url) as connection:
        await broker.wait_ready(SECONDS)
        consumer = await broker.consume(_queue(names, queue), prefetch=50)
        channel = await connection.channel(on_return_raises=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(publish(channel, names, corpus))
            for entry in corpus:
                [delivery] = await receive(consumer, 1)
                assert (entry.name, delivery.body) == (entry.name, entry.body)
                fate = _fate(_decoder(queue), delivery)
                assert (entry.name, fate) == (entry.name, entry.expected)
                await consumer.ack([delivery])


@pytest.mark.rabbitmq
async def test_what_the_broker_refuses_reaches_nobody_else(amqp_url: str, names: Names) -> None:
    """Its sender's channel or connection is closed."""
    async with _broker(amqp_url, names) as broker:
        await broker.wait_ready(SECONDS)
        for case in REFUSED_CASES:
            key, exchange = case.routing_key, case.exchange(names)
            with pytest.raises(RefusedByBrokerError):
                await asyncio.to_thread(
                    publish_raw, amqp_url, exchange, key, case.properties, case.body
                )
        assert broker.is_ready()


def _broker(amqp_url: str, names: Names) -> RabbitBroker:
    return RabbitBroker(
        amqp_url,
        names=names,
        topology=installation(names, [PARTICIPANT]),
        mode=TopologyMode.DECLARE,
        app_id="test",
    )


def _publish_raw_cases(amqp_url: str, names: Names) -> None:
    with RawConnection(amqp_url) as connection:
        for case in RAW_CASES:
            connection.publish(case.exchange(names), case.routing_key, case.properties, case.body)


def _queue(names: Names, queue: str) -> str:
    return entries(queue)[0].delivery(names).queue


def _decoder(queue: str) -> Any:
    return {
        "replies": codec.decode_reply,
        "starts": codec.decode_start,
        "commands": codec.decode_command,
    }[queue]


def _fate(decoder: Any, delivery: Delivery) -> str:
    try:
        decoder(delivery)
    except ProtocolError as error:
        return error.reason
    return "accepted"
