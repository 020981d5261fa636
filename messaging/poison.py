"""Malformed frames that brokers accept and deliver, to try the client library with."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from pamqp import commands, constants, frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """A malformed frame, and what is to be read of it."""

    name: str
    payload: bytes
    attribute: str  # of the frame, where `expected` is to be found
    expected: object
    frame_type: int = constants.FRAME_HEADER

    def problem(self) -> str | None:
        """What goes wrong when this frame arrives; None if nothing."""
        beginning = struct.pack(">BHI", self.frame_type, 1, len(self.payload))
        try:
            _, _, received = frame.unmarshal(beginning + self.payload + constants.FRAME_END_CHAR)
            seen = attrgetter(self.attribute)(received)
        except Exception as error:  # whatever it is, it ends a connection
            return f"{type(error).__name__}: {error}"
        return None if seen == self.expected else f"it reads {seen!r:.100}"


def poison(max_depth: int) -> Iterator[Poison]:
    """The frames; tables and arrays are to be cut at `max_depth`."""
    text = short_text(b"a\xff")
    for name in ("message_id", "message_type", "correlation_id", "app_id", "content_type"):
        yield _property(f"a {name} that is not UTF-8", name, text, "a\\xff")
    for seconds in (999_999_999_999_999, 2**63, 2**64 - 1):
        moment = struct.pack(">Q", seconds)
        yield _property(f"the timestamp {seconds}", "timestamp", moment, None)
    yield _headers("a header's name that is not UTF-8", text + b"b\x01", {"a\\xff": 1})
    yield _headers("a header's timestamp out of range", b"\x01kT" + b"\xff" * 8, {"k": None})
    yield _headers("header tables nested 3000 deep", nested_tables(3000), _tables(max_depth))
    arrays = b"\x01k" + nested_arrays(3000)
    yield _headers("header arrays nested 3000 deep", arrays, {"k": _arrays(max_depth - 1)})
    yield _routing_key("a routing key that is not UTF-8", text, "a\\xff")


def short_text(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def sized(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def nested_tables(levels: int) -> bytes:
    """Entries of a table: tables in tables, each under the key `k`."""
    content = b""
    for _ in range(levels):
        content = b"\x01kF" + sized(content)
    return content


def nested_arrays(levels: int) -> bytes:
    """The value of an entry: arrays in arrays."""
    content = b""
    for _ in range(levels):
        content = b"A" + sized(content)
    return content


def with_properties(body_bytes: int, flags: int, values: bytes) -> bytes:
    """A content header with these properties, whatever they are."""
    return struct.pack(">HHQH", commands.Basic.frame_id, 0, body_bytes, flags) + values


def _property(name: str, flag: str, value: bytes, expected: object) -> Poison:
    payload = with_properties(0, commands.Basic.Properties.flags[flag], value)
    return Poison(name=name, payload=payload, attribute=f"properties.{flag}", expected=expected)


def _headers(name: str, entries: bytes, expected: object) -> Poison:
    return _property(name, "headers", sized(entries), expected)


def _routing_key(name: str, key: bytes, expected: object) -> Poison:
    """A delivery of a message that has it: consumer, number, not redelivered, exchange, key."""
    index = struct.pack(">I", commands.Basic.Deliver.index)
    return Poison(
        name=name,
        payload=index + short_text(b"c") + struct.pack(">QB", 1, 0) + short_text(b"x") + key,
        attribute="routing_key",
        expected=expected,
        frame_type=constants.FRAME_METHOD,
    )


def _tables(levels: int) -> object:
    value: object = None
    for _ in range(levels):
        value = {"k": value}
    return value


def _arrays(levels: int) -> object:
    value: object = None
    for _ in range(levels):
        value = [value]
    return value
