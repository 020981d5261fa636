"""Targets: frames as RabbitMQ hands them on, well-formed and mutated, read by our decoders."""

import struct
from dataclasses import dataclass
from dataclasses import fields as fields_of
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, cast

from aiormq.abc import AbstractChannel, DeliveredMessage
from hypothesis import strategies as st
from pamqp import commands, constants, frame
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader

from messaging import lenient, received
from messaging.poison import poison, short_text, sized, with_properties
from messaging.port import Delivery
from messaging.rabbit_delivery import delivery_of
from tests.fuzzing.target import target

FLAGS: Final = commands.Basic.Properties.flags
SHORT_TEXTS: Final = (
    *("content_type", "content_encoding", "correlation_id", "reply_to", "message_id"),
    *("message_type", "user_id", "app_id"),
)
# What reading a frame that no broker would send may end a connection with.
FOREIGN: Final = (PAMQPException, ValueError, IndexError, KeyError, struct.error, AttributeError)


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a header in bytes, and what is to be read of it."""

    content: bytes
    value: Any


def _number(kind: bytes, form: str, numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Field]:
    return numbers.map(lambda number: Field(kind + struct.pack(form, number), number))


def _decimal(scale: int, number: int) -> Field:
    value = Decimal(number) / Decimal(10**scale)
    return Field(b"D" + struct.pack(">BI", scale, number), value)


def _moment(seconds: int) -> Field:
    try:
        # The client library takes what lies beyond 32 bits for milliseconds.
        value = datetime.fromtimestamp(seconds / 1000 if seconds >= 2**32 else seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return Field(b"T" + struct.pack(">Q", seconds), None)
    return Field(b"T" + struct.pack(">Q", seconds), value)


def _long_text(content: bytes) -> Field:
    try:
        value: object = content.decode()
    except UnicodeDecodeError:
        value = content
    return Field(b"S" + sized(content), value)


SCALARS: Final = st.one_of(
    st.just(Field(b"V", None)),
    st.booleans().map(lambda value: Field(b"t" + bytes([value]), value)),
    _number(b"b", ">b", st.integers(-(2**7), 2**7 - 1)),
    _number(b"B", ">B", st.integers(0, 2**8 - 1)),
    _number(b"s", ">h", st.integers(-(2**15), 2**15 - 1)),
    _number(b"u", ">H", st.integers(0, 2**16 - 1)),
    _number(b"I", ">i", st.integers(-(2**31), 2**31 - 1)),
    _number(b"i", ">I", st.integers(0, 2**32 - 1)),
    _number(b"l", ">q", st.integers(-(2**63), 2**63 - 1)),
    _number(b"f", ">f", st.floats(width=32, allow_nan=False)),
    _number(b"d", ">d", st.floats(allow_nan=False)),
    st.builds(_decimal, st.integers(0, 20), st.integers(0, 2**31 - 1)),
    st.integers(0, 2**64 - 1).map(_moment) | st.integers(0, 2**32).map(_moment),
    st.binary(max_size=20).map(_long_text),
    st.binary(max_size=20).map(lambda content: Field(b"x" + sized(content), bytearray(content))),
)


def _array(fields: list[Field]) -> Field:
    content = b"".join(field.content for field in fields)
    return Field(b"A" + sized(content), [field.value for field in fields])


def _table(fields: list[tuple[bytes, Field]]) -> Field:
    return Field(b"F" + _entries(fields), {_name(key): field.value for key, field in fields})


def _entries(fields: list[tuple[bytes, Field]]) -> bytes:
    return sized(b"".join(short_text(key) + field.content for key, field in fields))


def _name(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace").replace("\0", "\\x00")


KEYS: Final = st.binary(max_size=12) | st.just(b"\xff" * 255)
FIELDS: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(_array)
        | st.lists(st.tuples(KEYS, inner), max_size=4, unique_by=lambda item: _name(item[0])).map(
            _table
        )
    ),
    max_leaves=12,
)
TABLES: Final = st.lists(st.tuples(KEYS, FIELDS), max_size=6, unique_by=lambda item: _name(item[0]))
TEXTS: Final = st.dictionaries(st.sampled_from(SHORT_TEXTS), st.binary(max_size=255), max_size=4)


@target(st.tuples(TEXTS, TABLES, st.none() | st.integers(0, 2**64 - 1)), examples=80)
def well_formed_properties_are_read_as_they_are(
    said: tuple[dict[str, bytes], list[tuple[bytes, Field]], int | None],
) -> None:
    texts, fields, timestamp = said
    content = {name: short_text(text) for name, text in texts.items()}
    content["headers"] = _entries(fields)
    if timestamp is not None:
        content["timestamp"] = struct.pack(">Q", timestamp)
    properties = _read(_header(content))
    for name, text in texts.items():
        assert getattr(properties, name) == _name(text)
    assert properties.headers == _cut({_name(key): field.value for key, field in fields}, 1)
    if timestamp is not None:
        assert properties.timestamp == _moment(timestamp).value


@target(st.tuples(TEXTS, TABLES, st.none() | st.integers(0, 2**64 - 1)), examples=80)
def in_bulk_a_delivery_is_read_as_the_library_reads_it(
    said: tuple[dict[str, bytes], list[tuple[bytes, Field]], int | None],
) -> None:
    texts, fields, timestamp = said
    content = {name: short_text(text) for name, text in texts.items()}
    content["headers"] = _entries(fields)
    if timestamp is not None:
        content["timestamp"] = struct.pack(">Q", timestamp)
    header = _header(content)
    deliver = commands.Basic.Deliver("tag", 2**40, True, "exchange", "key")
    method = frame.marshal(deliver, 1)[7:-1]
    message = DeliveredMessage(
        delivery=deliver,
        header=cast("ContentHeader", _unmarshalled(constants.FRAME_HEADER, header)),
        body=b"body",
        channel=cast("AbstractChannel", None),
    )
    read = received.delivery_of(method, header, b"body", queue="q", session=1)
    assert _values(read) == _values(delivery_of(message, queue="q", session=1))


@target(st.data(), examples=80)
def in_bulk_no_header_of_a_message_raises(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(SAMPLES))
    payload = _mutated(data, sample.payload[14:4000])
    header = sample.payload[:14] + payload
    if sample.frame_type == constants.FRAME_HEADER:
        method = frame.marshal(commands.Basic.Deliver("tag", 1, False, "", "key"), 1)[7:-1]
        assert received.delivery_of(method, header, b"", queue="q", session=1).tag == 1


@target(st.tuples(TABLES, st.data()), examples=80)
def a_table_that_is_mutated_inside_is_read_as_far_as_it_goes(
    said: tuple[list[tuple[bytes, Field]], st.DataObject],
) -> None:
    fields, data = said
    content = _mutated(data, _entries(fields)[4:])
    read = _read(_header({"headers": sized(content), "app_id": short_text(b"after it")}))
    assert isinstance(read.headers, dict)
    assert all(isinstance(key, str) and "\0" not in key for key in read.headers)
    assert read.app_id == "after it"


@target(st.data(), examples=80)
def whatever_the_frame_no_foreign_error_is_raised(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(SAMPLES))
    payload = _mutated(data, sample.payload[:4000])
    try:
        _unmarshalled(sample.frame_type, payload)
    except FOREIGN:
        return


SAMPLES: Final = tuple(poison(lenient.MAX_DEPTH))


def _header(values: dict[str, bytes]) -> bytes:
    flags = sum(FLAGS[name] for name in values)
    return with_properties(0, flags, b"".join(values[name] for name in FLAGS if name in values))


def _values(delivery: Delivery) -> dict[str, Any]:
    return {each.name: getattr(delivery, each.name) for each in fields_of(delivery)}


def _read(payload: bytes) -> Any:
    received = _unmarshalled(constants.FRAME_HEADER, payload)
    assert isinstance(received, ContentHeader)
    return received.properties


def _unmarshalled(kind: int, payload: bytes) -> object:
    lenient.install()
    beginning = struct.pack(">BHI", kind, 1, len(payload))
    consumed, _, received = frame.unmarshal(beginning + payload + constants.FRAME_END_CHAR)
    assert consumed == len(payload) + 8
    return received


def _mutated(data: st.DataObject, content: bytes) -> bytes:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 4)))
        piece = data.draw(st.binary(max_size=6) | st.sampled_from([b"F", b"A", b"\xff" * 4]))
        content = content[:start] + piece + content[end:]
    return content


def _cut(value: Any, depth: int) -> Any:
    """As deep as our decoders go."""
    if not isinstance(value, dict | list):
        return value
    if depth > lenient.MAX_DEPTH:
        return None
    if isinstance(value, list):
        return [_cut(each, depth + 1) for each in value]
    return {key: _cut(each, depth + 1) for key, each in value.items()}
