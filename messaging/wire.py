"""The frames that carry messages, as bytes. No socket is in sight; `received` reads deliveries.

AMQP 0-9-1, sections 2.3 and 4.2. Only what travels in bulk lives here: publishes, deliveries,
returns, confirms and settlements; everything else is the client library's.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final

from messaging.port import Outgoing

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
CONTENT: Final = Struct(">HHQH")  # class, weight, size of the body, property flags
_SIZE: Final = Struct(">I")
_LONG_TEXT: Final = Struct(">cI").pack
TAG: Final = Struct(">QB")  # delivery tag, and a bit: multiple, requeue or redelivered
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
            before = _short(correlation_id)
        if kind:
            flags |= _TYPE
            after = short_text(kind)
        properties = b"".join(
            (
                CONTENT.pack(60, 0, len(body), flags),
                _CONTENT_TYPE,
                table(message.headers),
                _PERSISTENT,
                before,
                _short(message_id),
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


def _short(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes() + raw


short_text: Final = lru_cache(maxsize=1024)(_short)
"""For texts that many messages have in common."""


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
            return _LONG_TEXT(b"S", len(raw)) + raw
        case bool():
            return b"t\x01" if value else b"t\x00"
        case _ if -(2**31) <= value < 2**31:
            return b"I" + value.to_bytes(4, signed=True)
        case _:
            return b"l" + value.to_bytes(8, signed=True)


def settlement(payload: bytes) -> tuple[int, bool]:
    """Of a confirm: its tag, and whether it counts for all before it as well."""
    tag, bits = TAG.unpack_from(payload, METHOD_ID.size)
    return tag, bool(bits & 1)


def body_size(header: bytes) -> int:
    """How many bytes of body follow a content header."""
    size: int = CONTENT.unpack_from(header)[2]
    return size
