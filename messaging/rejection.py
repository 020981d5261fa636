"""What of a message that cannot be processed goes to the dead letters."""

import hashlib
from typing import Final

from messaging.contract import MAX_BODY_BYTES
from messaging.events import CAUSES, MAX_CAUSES
from messaging.events import HEADERS as EVENT_HEADERS
from messaging.port import Delivery
from messaging.texts import within

# Of a body that is too large, this much is kept.
KEPT_BYTES: Final = 64 * 1024
# The longest text that AMQP has room for in a property or a routing key.
SHORT_BYTES: Final = 255

_KEPT_HEADERS: Final = (
    "saga-type",
    "saga-step",
    "saga-direction",
    "saga-command-id",
    "saga-attempt",
    "saga-database-epoch",
    "saga-deadline",
    "saga-destination",
    "saga-first-message-id",
    "traceparent",
    *(name for name in EVENT_HEADERS if name not in {"saga-type", "traceparent"}),
)
_INTEGERS: Final = range(-(2**63), 2**63)  # what an AMQP header has room for


def short(text: str) -> str:
    return within(text, SHORT_BYTES)


def named_type(delivery: Delivery) -> str:
    """The type, or the routing key that names it: the copy goes by another routing key."""
    if delivery.type or delivery.routing_key == delivery.queue:
        return short(delivery.type or "")
    return short(delivery.routing_key)


def kept_headers(delivery: Delivery) -> dict[str, str | int]:
    """Our own headers as they were, if they are short; of all others, the broker's too, none."""
    return {
        name: value
        for name in _KEPT_HEADERS
        if (value := delivery.headers.get(name)) is not None
        and (_is_short(value) or _is_chain(name, value))
    }


def origins(delivery: Delivery) -> dict[str, str | int]:
    """Who sent it and as what, since the copy's own properties say that of us."""
    known = {
        "saga-original-type": delivery.type,
        "saga-original-message-id": delivery.message_id,
        "saga-original-user-id": delivery.user_id,
    }
    return {name: short(value) for name, value in known.items() if value}


def kept_body(body: bytes) -> tuple[bytes, dict[str, str | int]]:
    """The body if it is not too large; else its beginning, its size and its digest."""
    if len(body) <= MAX_BODY_BYTES:
        return body, {}
    digest = hashlib.sha256(body).hexdigest()
    return body[:KEPT_BYTES], {"saga-body-size": len(body), "saga-body-sha256": digest}


def _is_chain(name: str, value: object) -> bool:
    """The ids of the events that led to this one."""
    return name == CAUSES and isinstance(value, str) and len(value) <= MAX_CAUSES


def _is_short(value: object) -> bool:
    match value:
        case str():
            return short(value) == value
        case bool():
            return False
        case int():
            return value in _INTEGERS
        case _:
            return False
