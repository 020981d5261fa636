"""What of a message passes AMQP's frames, and how it comes out at the other end.

The embedded broker has no frames; without this it would carry what RabbitMQ's clients cannot.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from messaging.port import Outgoing

_EXCHANGE: Final = re.compile(r"[a-zA-Z0-9\-_.:@#,/><]{1,127}")
_SHORT_BYTES: Final = 255
_NAME_BYTES: Final = 128  # of a header's name; the client library cuts the rest
_INTEGERS: Final = range(-(2**63), 2**63)


def carried(message: Outgoing) -> Outgoing | None:
    """The message as a consumer will read it; None if it cannot be encoded."""
    shorts = (message.routing_key, message.type, message.correlation_id or "")
    if not (_EXCHANGE.fullmatch(message.exchange) and all(map(_is_short, shorts))):
        return None
    if not all(_is_text(name) and _is_entry(value) for name, value in message.headers.items()):
        return None
    return replace(
        message,
        routing_key=_read(message.routing_key),
        type=_read(message.type),
        correlation_id=_read(message.correlation_id or "") or None,
        headers=_headers(message.headers),
    )


def _is_short(text: str) -> bool:
    return _is_text(text) and len(text.encode()) <= _SHORT_BYTES


def _is_text(text: str) -> bool:
    """False for lone surrogates, which UTF-8 has no bytes for."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _is_entry(value: str | int) -> bool:
    return _is_text(value) if isinstance(value, str) else value in _INTEGERS


def _headers(headers: Mapping[str, str | int]) -> Mapping[str, str | int]:
    return {_read(_cut(name)): value for name, value in headers.items()}


def _cut(name: str) -> str:
    return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def _read(text: str) -> str:
    """As the lenient decoders read a short string."""
    return text.replace("\0", "\\x00")
