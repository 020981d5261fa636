"""The frames that carry messages, as bytes: from our values and back. No socket is in sight.

AMQP 0-9-1, sections 2.3 and 4.2. Only what travels in bulk lives here: publishes, deliveries,
returns, confirms and settlements; everything else is the client library's.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from messaging import lenient
from messaging.port import Delivery, Outgoing
from messaging.rabbit_delivery import count_of, plain

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
END: Final = b"\xce"
HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00" + END

# Class and method, as one number.
DELIVER: Final = 60 << 16 | 60
RETURN: Final = 60 << 16 | 50
ACK: Final = 60 << 16 | 80
NACK: Final = 60 << 16 | 120
CHANNEL_CLOSE: Final = 20 << 16 | 40
CHANNEL_CLOSE_OK: Final = 20 << 16 | 41
_PUBLISH: Final = 60 << 16 | 40
_REJECT: Final = 60 << 16 | 90

FRAME: Final = Struct(">BHI")  # type, channel, size of the payload
METHOD_ID: Final = Struct(">I")
_OVERHEAD: Final = FRAME.size + len(END)
_CONTENT: Final = Struct(">HHQH")  # class, weight, size of the body, property flags
_SIZE: Final = Struct(">I")
_TAG: Final = Struct(">QB")  # delivery tag, and a bit: multiple, requeue or redelivered
_SETTLE: Final = Struct(">BHIIQBc")
_LONG: Final = Struct(">Q")

_EXCHANGE: Final = re.compile(r"[A-Za-z0-9\-_.:]{0,127}")
_LONGEST_KEY: Final = 128
_PERSISTENT: Final = b"\x02"
_CONTENT_TYPE: Final = b"\x10application/json"

# The property flags of what we send: whether a text is there depends on the message.
_ALWAYS: Final = 0x8000 | 0x2000 | 0x1000 | 0x0080 | 0x0040  # type of content … timestamp
_CORRELATION_ID: Final = 0x0400
_TYPE: Final = 0x0020
_USER_ID: Final = 0x0010
_APP_ID: Final = 0x0008


class Encoder:
    """Publishes to one exchange over one channel.

    Raises ValueError, OverflowError or struct.error for what AMQP cannot carry: texts of more
    than 255 bytes or with lone surrogates, integers of more than 64 bits.
    """

    def __init__(
        self, *, channel: int, exchange: str, app_id: str, user_id: str | None, frame_max: int
    ) -> None:
        self._channel = channel
        self._exchange = short_text(exchange)
        self._largest = frame_max - _OVERHEAD
        self._flags = _ALWAYS | (_USER_ID if user_id else 0) | (_APP_ID if app_id else 0)
        self._ending = (short_text(user_id) if user_id else b"") + (
            short_text(app_id) if app_id else b""
        )
        self._method = lru_cache(maxsize=1024)(self._method_frame)

    def publish(self, message: Outgoing, *, message_id: str, seconds: int) -> bytes:
        """All frames of one publish; `seconds` since 1970 is its timestamp."""
        correlation_id, kind, body = message.correlation_id, message.type, message.body
        flags = self._flags
        before, after = b"", b""
        if correlation_id:
            flags |= _CORRELATION_ID
            before = short_text(correlation_id)
        if kind:
            flags |= _TYPE
            after = short_text(kind)
        properties = b"".join(
            (
                _CONTENT.pack(60, 0, len(body), flags),
                _CONTENT_TYPE,
                table(message.headers),
                _PERSISTENT,
                before,
                short_text(message_id),
                _LONG.pack(seconds),
                after,
                self._ending,
            )
        )
        return b"".join(
            (
                self._method(message.routing_key, message.mandatory),
                FRAME.pack(HEADER, self._channel, len(properties)),
                properties,
                END,
                *self._body_frames(body),
            )
        )

    def _method_frame(self, routing_key: str, mandatory: bool) -> bytes:
        payload = b"".join(
            (
                METHOD_ID.pack(_PUBLISH),
                b"\x00\x00",
                self._exchange,
                short_text(routing_key),
                b"\x01" if mandatory else b"\x00",
            )
        )
        return frame(METHOD, self._channel, payload)

    def _body_frames(self, body: bytes) -> Iterator[bytes]:
        for start in range(0, len(body), self._largest):
            part = body[start : start + self._largest]
            yield FRAME.pack(BODY, self._channel, len(part))
            yield part
            yield END


def is_exchange(name: str) -> bool:
    """True if a frame can carry the name and the broker may know it."""
    return _EXCHANGE.fullmatch(name) is not None


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return FRAME.pack(kind, channel, len(payload)) + payload + END


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    return _SETTLE.pack(METHOD, channel, 13, ACK, tag, multiple, END)


def reject(channel: int, tag: int) -> bytes:
    """Back to its queue."""
    return _SETTLE.pack(METHOD, channel, 13, _REJECT, tag, True, END)


@lru_cache(maxsize=4096)
def short_text(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def table(headers: Mapping[str, str | int]) -> bytes:
    content = b"".join([_key(key) + _value(value) for key, value in headers.items()])
    return _SIZE.pack(len(content)) + content


@lru_cache(maxsize=1024)
def _key(key: str) -> bytes:
    """Longer keys are cut, as the client library does."""
    return short_text(key.encode()[:_LONGEST_KEY].decode(errors="ignore"))


def _value(value: str | int) -> bytes:
    match value:
        case str():
            raw = value.encode()
            return b"S" + _SIZE.pack(len(raw)) + raw
        case bool():
            return b"t\x01" if value else b"t\x00"
        case _ if -(2**31) <= value < 2**31:
            return b"I" + value.to_bytes(4, signed=True)
        case _:
            return b"l" + value.to_bytes(8, signed=True)


def settlement(payload: bytes) -> tuple[int, bool]:
    """Of a confirm: its tag, and whether it counts for all before it as well."""
    tag, bits = _TAG.unpack_from(payload, METHOD_ID.size)
    return tag, bool(bits & 1)


def body_size(header: bytes) -> int:
    """How many bytes of body follow a content header."""
    size: int = _CONTENT.unpack_from(header)[2]
    return size


def message_id_of(header: bytes) -> str | None:
    """Of a returned message."""
    found = _properties(header).get("message_id")
    return found if isinstance(found, str) else None


def delivery_of(method: bytes, header: bytes, body: bytes, *, queue: str, session: int) -> Delivery:
    """A delivery from its frames' payloads, whatever they hold: nothing here raises."""
    offset = METHOD_ID.size
    offset += 1 + method[offset]  # the consumer's tag: the channel has no other consumer
    tag, redelivered = _TAG.unpack_from(method, offset)
    exchange, offset = _text_at(method, offset + _TAG.size)
    routing_key, _ = _text_at(method, offset)
    properties = _properties(header)
    headers = properties.pop("headers", {})
    return Delivery(
        queue=queue,
        exchange=exchange,
        routing_key=routing_key,
        body=body,
        tag=tag,
        session=session,
        redelivered=bool(redelivered & 1),
        delivery_count=count_of(headers.pop("x-delivery-count", 0)),
        headers=headers,
        **properties,
    )


def _text_at(payload: bytes, offset: int) -> tuple[str, int]:
    end = offset + 1 + payload[offset]
    raw = payload[offset + 1 : end]
    return _text(raw), end


def _text(raw: bytes) -> str:
    if raw.isascii() and b"\0" not in raw:
        return raw.decode("ascii")
    return raw.decode(errors="backslashreplace").replace("\0", "\\x00")


def _headers_at(payload: bytes, offset: int) -> tuple[dict[str, Any], int]:
    end = offset + _SIZE.size + _SIZE.unpack_from(payload, offset)[0]
    headers: dict[str, Any] = {}
    at = offset + _SIZE.size
    while at < end:  # texts, which nearly all headers are; one other kind: the library's way
        start = at + 1 + payload[at]
        if payload[start] != ord("S"):
            return plain(lenient.table(payload[offset:end])[1]), end
        stop = start + 5 + _SIZE.unpack_from(payload, start + 1)[0]
        if stop > end:
            return plain(lenient.table(payload[offset:end])[1]), end
        headers[_text(payload[at + 1 : start])] = payload[start + 5 : stop].decode(
            errors="backslashreplace"
        )
        at = stop
    return headers, end


def _skip_text(payload: bytes, offset: int) -> tuple[None, int]:
    return None, offset + 1 + payload[offset]


def _skip_octet(_payload: bytes, offset: int) -> tuple[None, int]:
    return None, offset + 1


def _moment_at(payload: bytes, offset: int) -> tuple[datetime | None, int]:
    """None for what is beyond Python's calendar."""
    _, moment = lenient.moment(payload[offset : offset + _LONG.size])
    return moment, offset + _LONG.size


_Reader = Callable[[bytes, int], tuple[Any, int]]
_READERS: Final[tuple[tuple[int, str | None, _Reader], ...]] = (
    (0x8000, "content_type", _text_at),
    (0x4000, "content_encoding", _text_at),
    (0x2000, "headers", _headers_at),
    (0x1000, None, _skip_octet),  # delivery mode
    (0x0800, None, _skip_octet),  # priority
    (0x0400, "correlation_id", _text_at),
    (0x0200, None, _skip_text),  # reply to
    (0x0100, None, _skip_text),  # expiration
    (0x0080, "message_id", _text_at),
    (0x0040, "timestamp", _moment_at),
    (0x0020, "type", _text_at),
    (0x0010, "user_id", _text_at),
    (0x0008, "app_id", _text_at),
)


@lru_cache(maxsize=256)
def _readers(flags: int) -> tuple[tuple[str | None, _Reader], ...]:
    return tuple((name, reader) for flag, name, reader in _READERS if flags & flag)


def _properties(header: bytes) -> dict[str, Any]:
    """What the content header says; of a malformed one, all before the fault."""
    found: dict[str, Any] = {}
    flags: int = _CONTENT.unpack_from(header)[3]
    offset = _CONTENT.size
    try:
        for name, read in _readers(flags):
            value, offset = read(header, offset)
            if name:
                found[name] = value
    except (ValueError, IndexError, OverflowError):
        pass
    return found
