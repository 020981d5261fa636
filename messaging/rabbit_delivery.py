"""From the library's messages to deliveries: whatever the bytes were, nothing here raises."""

from datetime import UTC, datetime
from typing import Any

from aiormq.abc import DeliveredMessage

from messaging.port import Delivery


def delivery_of(message: DeliveredMessage, *, queue: str, session: int) -> Delivery:
    """The delivery with its properties read leniently."""
    properties = message.header.properties
    headers = plain(properties.headers or {})
    return Delivery(
        queue=queue,
        exchange=text(message.exchange) or "",
        routing_key=text(message.routing_key) or "",
        body=message.body,
        tag=message.delivery_tag or 0,
        session=session,
        redelivered=bool(message.redelivered),
        delivery_count=count_of(headers.pop("x-delivery-count", 0)),
        type=text(properties.message_type),
        message_id=text(properties.message_id),
        correlation_id=text(properties.correlation_id),
        content_type=text(properties.content_type),
        content_encoding=text(properties.content_encoding),
        app_id=text(properties.app_id),
        user_id=text(properties.user_id),
        timestamp=_moment(properties.timestamp),
        headers=headers,
    )


def plain(value: Any) -> Any:
    """Tables as dicts, arrays as lists, bytes as text with backslash escapes."""
    match value:
        case str() | int():
            return value
        case bytes() | bytearray():
            return text(value)
        case dict():
            return {text(key) or "": plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value


def text(value: Any) -> str | None:
    match value:
        case str() | None:
            return value
        case bytes() | bytearray():
            return value.decode(errors="backslashreplace")
        case _:
            return str(value)


def count_of(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _moment(value: Any) -> datetime | None:
    """Aware, in UTC; None for whatever is no point in time."""
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
