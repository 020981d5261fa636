"""Deliveries and returns from their frames' payloads: whatever the bytes were, nothing raises.

Most words and moments are those of the message before, so they are read once.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from messaging import lenient
from messaging.port import Delivery
from messaging.rabbit_delivery import count_of, plain
from messaging.wire import CONTENT, METHOD_ID, TAG

_LENGTH: Final = 4  # bytes, of a table or a long text
_MOMENT: Final = 8  # bytes


def message_id_of(header: bytes) -> str | None:
    """Of a returned message."""
    found = _properties(header).get("message_id")
    return found if isinstance(found, str) else None


def delivery_of(method: bytes, header: bytes, body: bytes, *, queue: str, session: int) -> Delivery:
    """A delivery from its frames' payloads, whatever they hold: nothing here raises."""
    offset = METHOD_ID.size
    offset += 1 + method[offset]  # the consumer's tag: the channel has no other consumer
    tag, redelivered = TAG.unpack_from(method, offset)
    exchange, routing_key = _address(method[offset + TAG.size :])
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


@lru_cache(maxsize=1024)
def _address(payload: bytes) -> tuple[str, str]:
    """Exchange and routing key: most deliveries of a queue have the same."""
    exchange, offset = _text_at(payload, 0)
    return exchange, _text_at(payload, offset)[0]


def _text_at(payload: bytes, offset: int) -> tuple[str, int]:
    end = offset + 1 + payload[offset]
    return _text(payload[offset + 1 : end]), end


def _word_at(payload: bytes, offset: int) -> tuple[str, int]:
    """A text that is the same in many messages."""
    end = offset + 1 + payload[offset]
    return _word(payload[offset + 1 : end]), end


def _text(raw: bytes) -> str:
    if raw.isascii() and b"\0" not in raw:
        return raw.decode("ascii")
    return raw.decode(errors="backslashreplace").replace("\0", "\\x00")


_word: Final = lru_cache(maxsize=1024)(_text)


def _headers_at(payload: bytes, offset: int) -> tuple[dict[str, Any], int]:
    """Nearly all headers are texts or numbers; where one is not, the library reads them all."""
    at = offset + _LENGTH
    end = at + int.from_bytes(payload[offset:at])
    if end > len(payload):
        raise ValueError("a length exceeds the data")
    headers: dict[str, Any] = {}
    while at < end:
        start = at + 1 + payload[at]
        read = _FIELDS.get(payload[start])
        value, stop = read(payload, start + 1) if read else (None, end + 1)
        if stop > end:
            return plain(lenient.table(payload[offset:end])[1]), end
        headers[_word(payload[at + 1 : start])] = value
        at = stop
    return headers, end


def _long_text_at(payload: bytes, offset: int) -> tuple[str, int]:
    start = offset + _LENGTH
    stop = start + int.from_bytes(payload[offset:start])
    return payload[start:stop].decode(errors="backslashreplace"), stop


def _integer_at(payload: bytes, offset: int) -> tuple[int, int]:
    return int.from_bytes(payload[offset : offset + 4], signed=True), offset + 4


def _long_at(payload: bytes, offset: int) -> tuple[int, int]:
    return int.from_bytes(payload[offset : offset + 8], signed=True), offset + 8


def _skip_text(payload: bytes, offset: int) -> tuple[None, int]:
    return None, offset + 1 + payload[offset]


def _skip_octet(_payload: bytes, offset: int) -> tuple[None, int]:
    return None, offset + 1


def _moment_at(payload: bytes, offset: int) -> tuple[datetime | None, int]:
    return _moment(payload[offset : offset + _MOMENT]), offset + _MOMENT


@lru_cache(maxsize=64)  # it has no fractions of a second
def _moment(raw: bytes) -> datetime | None:
    """None for what is beyond Python's calendar."""
    return lenient.moment(raw)[1]


_Reader = Callable[[bytes, int], tuple[Any, int]]
_FIELDS: Final[Mapping[int, _Reader]] = {
    ord("S"): _long_text_at,
    ord("I"): _integer_at,
    ord("l"): _long_at,
}
_READERS: Final[tuple[tuple[int, str | None, _Reader], ...]] = (
    (0x8000, "content_type", _word_at),
    (0x4000, "content_encoding", _word_at),
    (0x2000, "headers", _headers_at),
    (0x1000, None, _skip_octet),  # delivery mode
    (0x0800, None, _skip_octet),  # priority
    (0x0400, "correlation_id", _text_at),
    (0x0200, None, _skip_text),  # reply to
    (0x0100, None, _skip_text),  # expiration
    (0x0080, "message_id", _text_at),
    (0x0040, "timestamp", _moment_at),
    (0x0020, "type", _word_at),
    (0x0010, "user_id", _word_at),
    (0x0008, "app_id", _word_at),
)


@lru_cache(maxsize=256)
def _readers(flags: int) -> tuple[tuple[str | None, _Reader], ...]:
    return tuple((name, reader) for flag, name, reader in _READERS if flags & flag)


def _properties(header: bytes) -> dict[str, Any]:
    """What the content header says; of a malformed one, all before the fault."""
    found: dict[str, Any] = {}
    flags: int = CONTENT.unpack_from(header)[3]
    offset = CONTENT.size
    try:
        for name, read in _readers(flags):
            value, offset = read(header, offset)
            if name:
                found[name] = value
    except (ValueError, IndexError, OverflowError):
        pass
    return found
