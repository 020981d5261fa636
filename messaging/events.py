"""The events by which choreographed services talk: values, and what they look like on the wire."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from messaging import reading
from messaging.contract import MAX_BODY_BYTES, SAGA_ID
from messaging.errors import ProtocolError
from messaging.port import Delivery, Outgoing
from messaging.strict_json import check_value, dump
from messaging.texts import moment_text
from messaging.topology import Names

EVENT_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
MAX_HOPS: Final = 64
"""Events in a row, each caused by the one before: more is a circle."""

EVENT_ID: Final = "saga-event-id"
CAUSES: Final = "saga-causes"
HEADERS: Final = (
    "saga-type",
    EVENT_ID,
    "saga-service",
    CAUSES,
    "saga-hops",
    "saga-correlation-id",
    "saga-started-at",
    "saga-quiet-after",
    "saga-ends",
    "traceparent",
)
"""Every header of an event, such as a replay has to keep."""

HANDLER_FAILED: Final = "handler_failed"
"""Why a service rejects an event that is as it should be: its handler fails again and again."""

MAX_CAUSES: Final = 16 * 1024  # characters
_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
_LONGEST_QUIET: Final = 366 * 24 * 3600
# Fixed for ever: event ids must not change between releases.
_NAMESPACE: Final = uuid.UUID("5a9ac0de-0000-5000-8000-c0de5a9a0002")


class Ending(StrEnum):
    """How a saga has ended, as the event that ends it says."""

    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaContext:
    """What every event of a saga carries on: the conversation, and how it came to this event."""

    saga_id: str
    saga_type: str = ""
    correlation_id: str = ""  # of whatever began the saga; its id if nothing else was said
    causes: tuple[str, ...] = ()  # ids of the events that led here, the first one first
    started_at: datetime | None = None
    quiet_after: timedelta | None = None  # without progress for so long, somebody is told
    traceparent: str | None = None

    @property
    def hops(self) -> int:
        """How many events came before, each caused by the one before it."""
        return len(self.causes)

    @property
    def cause(self) -> str | None:
        """The event that caused this one directly."""
        return self.causes[-1] if self.causes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact that one service tells all others."""

    type: str
    event_id: str  # the idempotency key: the same for every publishing of this event
    saga: SagaContext
    service: str | None = None  # who told it
    data: Mapping[str, Any] = field(default_factory=dict)
    ends: Ending | None = None

    @property
    def saga_id(self) -> str:
        return self.saga.saga_id


def event_id_for(origin: str, service: str, event: str, number: int = 0) -> str:
    """The id of the event that `service` emits because of `origin`: computed, never drawn.

    `origin` is the id of the event that it answers, or of the saga that it starts.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{origin}|{service}|{event}|{number}"))


def decode_event(delivery: Delivery) -> Event:
    """What happened. ProtocolError for what breaks a rule, and for a circle of events."""
    body = reading.content_of(delivery)
    saga_id = reading.saga_id_of(body)
    kind = reading.type_of(delivery)
    if not EVENT_NAME.fullmatch(kind):
        detail = f"the type {kind[:60]!a} is no event; a letter, then letters, digits, _ or -"
        raise ProtocolError("unknown_type", detail)
    return Event(
        type=kind,
        # Without one, a saga has one event of each type, as an orchestrator's outcomes are.
        event_id=_id_header(delivery, EVENT_ID) or event_id_for(saga_id, "", kind),
        saga=_context(delivery, saga_id),
        service=reading.header_text(delivery, "saga-service"),
        data={key: value for key, value in body.items() if key != "saga_id"},
        ends=_ending(delivery),
    )


def encode_event(names: Names, event: Event) -> Outgoing:
    """ProtocolError if the data break a rule: every listener would reject them."""
    data = {key: value for key, value in event.data.items() if key != "saga_id"}
    check_value(data)
    body = dump({"saga_id": event.saga_id, **data})
    if len(body) > MAX_BODY_BYTES:
        detail = f"the event has {len(body)} bytes; at most {MAX_BODY_BYTES} pass"
        raise ProtocolError("too_large", detail)
    return event_message(names, event.type, event.saga_id, body, _headers(event))


def event_message(
    names: Names, kind: str, saga_id: str, body: bytes, headers: Mapping[str, str | int]
) -> Outgoing:
    """An event around a body that is there already, exactly as it was stored."""
    return Outgoing(
        exchange=names.events,
        routing_key=kind,
        type=kind,
        body=body,
        correlation_id=saga_id,
        headers=headers,
        mandatory=False,
    )


def following(event: Event) -> SagaContext:
    """The context of an event that is emitted because of `event`."""
    saga = event.saga
    return SagaContext(
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        correlation_id=saga.correlation_id,
        causes=(*saga.causes, event.event_id),
        started_at=saga.started_at,
        quiet_after=saga.quiet_after,
        traceparent=saga.traceparent,
    )


def _headers(event: Event) -> dict[str, str | int]:
    saga = event.saga
    quiet = saga.quiet_after
    headers: dict[str, str | int | None] = {
        "saga-type": saga.saga_type or None,
        EVENT_ID: event.event_id,
        "saga-service": event.service,
        CAUSES: " ".join(saga.causes) or None,
        "saga-hops": saga.hops,
        "saga-correlation-id": saga.correlation_id or None,
        "saga-started-at": moment_text(saga.started_at) if saga.started_at else None,
        "saga-quiet-after": max(1, round(quiet.total_seconds())) if quiet else None,
        "saga-ends": event.ends.value if event.ends else None,
        "traceparent": saga.traceparent,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _context(delivery: Delivery, saga_id: str) -> SagaContext:
    return SagaContext(
        saga_id=saga_id,
        saga_type=reading.header_text(delivery, "saga-type", limit=100) or "",
        correlation_id=reading.header_text(delivery, "saga-correlation-id") or saga_id,
        causes=_causes(delivery),
        started_at=reading.header_moment(delivery, "saga-started-at"),
        quiet_after=_quiet_after(delivery),
        traceparent=reading.traceparent_of(delivery),
    )


def _causes(delivery: Delivery) -> tuple[str, ...]:
    told = reading.header_text(delivery, CAUSES, limit=MAX_CAUSES) or ""
    causes = tuple(told.split())
    if not all(_ID.fullmatch(cause) for cause in causes):
        raise ProtocolError("bad_header", "saga-causes holds event ids with a space between")
    hops = delivery.headers.get("saga-hops", 0)
    if max(len(causes), hops if isinstance(hops, int) else 0) > MAX_HOPS:
        detail = f"more than {MAX_HOPS} events in a row; do two services answer each other?"
        raise ProtocolError("too_many_hops", detail)
    return causes


def _id_header(delivery: Delivery, name: str) -> str | None:
    value = reading.header_text(delivery, name)
    if value is not None and not SAGA_ID.fullmatch(value):
        detail = f"{name} is {value[:60]!a}; use 1 to 200 characters of A-Za-z0-9._:@-"
        raise ProtocolError("bad_header", detail)
    return value


def _ending(delivery: Delivery) -> Ending | None:
    if delivery.headers.get("saga-ends") is None:
        return None
    return reading.header_choice(delivery, "saga-ends", Ending)


def _quiet_after(delivery: Delivery) -> timedelta | None:
    """Advisory, in seconds; None for anything else."""
    value = delivery.headers.get("saga-quiet-after")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LONGEST_QUIET:
        return None
    return timedelta(seconds=value)
