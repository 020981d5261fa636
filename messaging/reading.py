"""Reads one field or header of a delivery at a time. ProtocolError names it, and what is wrong."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from messaging import limits
from messaging.contract import MAX_BODY_BYTES, MAX_ERROR_BYTES, SAGA_ID
from messaging.errors import ProtocolError
from messaging.port import Delivery
from messaging.strict_json import parse_object
from messaging.texts import within

MAX_NAME: Final = 200
MAX_ATTEMPT: Final = 1_000_000

_CONTENT_TYPE: Final = re.compile(
    r'\s*application/json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*', re.IGNORECASE
)
_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)"
)
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

Kind = TypeVar("Kind", bound=StrEnum)
Value = TypeVar("Value")


def content_of(delivery: Delivery, *, limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """The body's object, if the properties say that it is plain UTF-8 JSON and it is."""
    kind, encoding = delivery.content_type, delivery.content_encoding
    if kind and kind != "application/json" and not _CONTENT_TYPE.fullmatch(kind):
        raise ProtocolError("bad_content_type", f"{_shown(kind)} is not application/json")
    if encoding and encoding.strip().lower() != "identity":
        detail = f"content_encoding is {_shown(encoding)}; send the body as it is"
        raise ProtocolError("unsupported_encoding", detail)
    return parse_object(delivery.body, limit=limit)


def type_of(delivery: Delivery) -> str:
    """What kind of message it says it is: its type, or else its routing key.

    The queue's own name names nothing: it is how a dead letter or a test tool finds the queue.
    """
    if delivery.type:
        return delivery.type
    if delivery.routing_key and delivery.routing_key != delivery.queue:
        return delivery.routing_key
    raise ProtocolError("unknown_type", "the message has no type, and its routing key names none")


def kind_of(delivery: Delivery, kinds: type[Kind]) -> Kind:
    """`type_of`, which must be one of `kinds`."""
    name = type_of(delivery)
    try:
        return kinds(name)
    except ValueError:
        known = ", ".join(kinds)
        detail = f"the type {_shown(name)} is none of {known}"
        raise ProtocolError("unknown_type", detail) from None


def saga_id_of(body: Mapping[str, Any]) -> str:
    value = body.get("saga_id")
    if not isinstance(value, str) or not SAGA_ID.fullmatch(value):
        detail = f"saga_id is {_described(value)}; use 1 to 200 characters of A-Za-z0-9._:@-"
        raise ProtocolError("bad_field", detail)
    return value


def name_of(body: Mapping[str, Any], key: str, *, limit: int = MAX_NAME) -> str:
    """A required text that is neither empty nor long."""
    value = body.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        detail = f"{key} is {_described(value)}; use 1 to {limit} characters"
        raise ProtocolError("bad_field", detail)
    return value


def text_of(body: Mapping[str, Any], key: str) -> str | None:
    return _optional(body, key, str, "a string")


def flag_of(body: Mapping[str, Any], key: str) -> bool | None:
    return _optional(body, key, bool, "true or false")


def object_of(body: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    return _optional(body, key, dict, "an object")


def choice_of(body: Mapping[str, Any], key: str, choices: type[Kind]) -> Kind | None:
    value = text_of(body, key)
    if value is None:
        return None
    try:
        return choices(value)
    except ValueError:
        known = " or ".join(choices)
        detail = f"{key} is {_shown(value)}; it is {known}"
        raise ProtocolError("bad_field", detail) from None


def result_of(body: Mapping[str, Any], size: int) -> dict[str, Any] | None:
    """The result of a body of `size` bytes, within its limits."""
    result = object_of(body, "result")
    if result is not None:
        limits.check_parsed_result(result, size)
    return result


def failure_of(body: Mapping[str, Any]) -> dict[str, Any]:
    error = text_of(body, "error")
    return {
        "error": None if error is None else within(error, MAX_ERROR_BYTES),
        "retryable": flag_of(body, "retryable"),
    }


def header_text(delivery: Delivery, name: str, *, limit: int = MAX_NAME) -> str | None:
    """A header's text without control characters; None if the message has no such header."""
    value = delivery.headers.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        detail = f"{name} is {_described(value)}; use up to {limit} printable characters"
        raise ProtocolError("bad_header", detail)
    return value


def header_choice(delivery: Delivery, name: str, choices: type[Kind]) -> Kind:
    """A required header that is one of `choices`."""
    value = header_text(delivery, name)
    if value not in set(choices):
        known = " or ".join(choices)
        raise ProtocolError("bad_header", f"{name} is {_described(value)}; it is {known}")
    return choices(value)


def header_attempt(delivery: Delivery) -> int | None:
    value = delivery.headers.get("saga-attempt")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ATTEMPT:
        detail = f"saga-attempt is {_described(value)}; use an integer from 1 to {MAX_ATTEMPT}"
        raise ProtocolError("bad_header", detail)
    return value


def header_moment(delivery: Delivery, name: str) -> datetime | None:
    """An advisory point in time, RFC 3339; None for anything else."""
    value = delivery.headers.get(name)
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        return None


def traceparent_of(delivery: Delivery) -> str | None:
    """The trace the message belongs to; None if it is not well formed."""
    value = delivery.headers.get("traceparent")
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _optional(body: Mapping[str, Any], key: str, kind: type[Value], expected: str) -> Value | None:
    """The field if it is of that kind; null stands for a field that is not there."""
    value = body.get(key)
    if value is None or isinstance(value, kind):
        return value
    raise ProtocolError("bad_field", f"{key} is {_kind_of(value)}; send {expected}")


def _described(value: object) -> str:
    """For people: what a name, a number or a flag is; of anything else its kind."""
    match value:
        case str():
            return _shown(value)
        case bool() | int() | float():
            return f"{value} ({type(value).__name__})"
        case _:
            return _kind_of(value)


def _kind_of(value: object) -> str:
    """Says nothing of the content: it may be nobody's business."""
    kinds = {dict: "an object", list: "an array", str: "a string", type(None): "missing"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else f"{text[:60]}…")
