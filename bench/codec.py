"""AMQP 0-9-1 in bytes, as much as a benchmark needs. Pure; `wire.py` has the connection.

Publishes and deliveries are packed and cut by hand, everything else by pamqp. Nothing here is
fit for production: no flow control, no heartbeats, no defence against malformed frames.
"""

import itertools
import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from pamqp import base, commands, frame

FRAME_BYTES: Final = 131_072
_METHOD, _HEADER, _BODY = 1, 2, 3
_END: Final = b"\xce"
_CHANNEL: Final = 1
_FRAME: Final = struct.Struct(">BHI")
_LEAD: Final = struct.Struct(">HHQH")
_DELIVER, _ACK = 0x003C003C, 0x003C0050
# content_type, headers, delivery_mode, correlation_id, message_id, type: what is always there
_FLAGS: Final = 0x8000 | 0x2000 | 0x1000 | 0x0400 | 0x0080 | 0x0020
_CONTENT_TYPE: Final = b"\x10application/json"
# Sizes of values in a table, by their tag; S, x, A and F tell theirs themselves.
_SIZES: Final = {
    **dict.fromkeys(b"tbB", 1),
    **dict.fromkeys(b"suU", 2),
    **dict.fromkeys(b"Iif", 4),
    **dict.fromkeys(b"LldT", 8),
    ord("D"): 5,
    ord("V"): 0,
}


class Post(NamedTuple):
    """A persistent JSON message to be published. Its type is its routing key."""

    exchange: str
    routing_key: str
    correlation_id: bytes
    body: bytes
    headers: bytes = b""  # the entries of the table, as they go over the network
    is_mandatory: bool = True


class Delivery(NamedTuple):
    tag: int
    routing_key: bytes
    correlation_id: bytes
    headers: bytes
    body: bytes


class Confirm(NamedTuple):
    tag: int
    multiple: bool


Frame = Delivery | Confirm | base.Frame


def encode(post: Post, message_id: bytes) -> bytes:
    """All frames of one publish."""
    properties = b"".join(
        (
            _LEAD.pack(60, 0, len(post.body), _FLAGS),
            _CONTENT_TYPE,
            len(post.headers).to_bytes(4, "big"),
            post.headers,
            b"\x02",
            _short(post.correlation_id),
            _short(message_id),
            _short(post.routing_key.encode()),
        )
    )
    method = _publish(post.exchange, post.routing_key, post.is_mandatory)
    return b"".join((method, _framed(_HEADER, properties), *_bodies(post.body)))


def encode_ack(tag: int) -> bytes:
    """Acknowledge everything up to `tag`."""
    return _framed(_METHOD, struct.pack(">IQB", _ACK, tag, 1))


def encode_method(method: base.Frame, channel: int = _CHANNEL) -> bytes:
    return frame.marshal(method, channel)


def entry(name: str, value: str) -> bytes:
    """One header with a text, as it goes over the network."""
    content = value.encode()
    return _short(name.encode()) + b"S" + len(content).to_bytes(4, "big") + content


def entries(table: bytes) -> Mapping[bytes, bytes]:
    """The entries of a table by name, each with name, tag and value exactly as they came."""
    found, at = {}, 0
    while at < len(table):
        name_end = at + 1 + table[at]
        end = _value_end(table, name_end)
        found[table[at + 1 : name_end]] = table[at:end]
        at = end
    return found


class Decoder:
    """Cuts what arrives into frames; keeps what is not complete yet."""

    def __init__(self) -> None:
        self._rest = b""
        self._method = b""
        self._header = b""
        self._parts: list[bytes] = []
        self._missing = 0  # bytes of the body

    def feed(self, data: bytes) -> list[Frame]:
        data = self._rest + data if self._rest else data
        found: list[Frame] = []
        at, size = 0, len(data)
        while at + 7 < size:
            kind, channel, length = _FRAME.unpack_from(data, at)
            end = at + 8 + length
            if end > size:
                break
            self._take(kind, channel, data[at + 7 : end - 1], found)
            at = end
        self._rest = data[at:]
        return found

    def _take(self, kind: int, channel: int, payload: bytes, found: list[Frame]) -> None:
        if kind == _METHOD:
            self._take_method(channel, payload, found)
            return
        if kind == _HEADER:
            self._header, self._parts = payload, []
            self._missing = int.from_bytes(payload[4:12], "big")
        elif kind == _BODY:
            self._parts.append(payload)
            self._missing -= len(payload)
        else:
            return  # a heartbeat
        if not self._missing and self._method:
            found.append(_delivery(self._method, self._header, b"".join(self._parts)))

    def _take_method(self, channel: int, payload: bytes, found: list[Frame]) -> None:
        method = int.from_bytes(payload[:4], "big")
        self._method = payload if method == _DELIVER else b""
        if method == _ACK:
            tag, multiple = struct.unpack_from(">QB", payload, 4)
            found.append(Confirm(tag, bool(multiple)))
        elif method != _DELIVER:
            whole = _framed(_METHOD, payload, channel)
            _, _, decoded = frame.unmarshal(whole)
            assert isinstance(decoded, base.Frame)
            found.append(decoded)


def _delivery(method: bytes, header: bytes, body: bytes) -> Delivery:
    at = 5 + method[4]
    tag = int.from_bytes(method[at : at + 8], "big")
    at += 9  # and whether it is redelivered
    at += 1 + method[at]
    routing_key = method[at + 1 : at + 1 + method[at]]
    headers, correlation_id = _properties(header)
    return Delivery(tag, routing_key, correlation_id, headers, body)


def _properties(header: bytes) -> tuple[bytes, bytes]:
    """Headers and correlation id; both may be missing."""
    flags = int.from_bytes(header[12:14], "big")
    at = 14
    for flag in (0x8000, 0x4000):  # content type and encoding
        at += 1 + header[at] if flags & flag else 0
    headers = correlation_id = b""
    if flags & 0x2000:
        length = int.from_bytes(header[at : at + 4], "big")
        headers = header[at + 4 : at + 4 + length]
        at += 4 + length
    for flag in (0x1000, 0x0800):  # delivery mode and priority
        at += 1 if flags & flag else 0
    if flags & 0x0400:
        correlation_id = header[at + 1 : at + 1 + header[at]]
    return headers, correlation_id


def _value_end(table: bytes, at: int) -> int:
    """Where the value ends whose tag stands at `at`."""
    size = _SIZES.get(table[at])
    if size is None:
        size = 4 + int.from_bytes(table[at + 1 : at + 5], "big")
    return at + 1 + size


def _bodies(body: bytes) -> Iterable[bytes]:
    if len(body) <= FRAME_BYTES - 8:
        return (_framed(_BODY, body),) if body else ()
    cuts = itertools.count(0, FRAME_BYTES - 8)
    cut = itertools.takewhile(len(body).__gt__, cuts)
    return (_framed(_BODY, body[at : at + FRAME_BYTES - 8]) for at in cut)


@lru_cache(maxsize=1024)
def _publish(exchange: str, routing_key: str, is_mandatory: bool) -> bytes:
    method = commands.Basic.Publish(
        exchange=exchange, routing_key=routing_key, mandatory=is_mandatory
    )
    return frame.marshal(method, _CHANNEL)


def _framed(kind: int, payload: bytes, channel: int = _CHANNEL) -> bytes:
    return _FRAME.pack(kind, channel, len(payload)) + payload + _END


def _short(content: bytes) -> bytes:
    return bytes((len(content),)) + content
