"""A dead letter as a value, read from a delivery. Reading is total: nothing here raises."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from dlq_worker.deaths import first_routing_key, latest_death
from dlq_worker.signature import signature_of
from dlq_worker.storable import storable_json, storable_text
from messaging.contract import DESTINATION, EPOCH_HEADER, SAGA_ID, Direction, participant_of
from messaging.port import Delivery
from messaging.topology import Names

MAX_KEPT_BODY: Final = 2 * 1024 * 1024  # more than any message that a program of ours takes
FIRST_ID: Final = "saga-first-message-id"  # on what we send again: whose repetition it is
ORIGINAL_ID: Final = "saga-original-message-id"  # on a rejected message: the id it had
_REJECTED: Final = "rejected."
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,49}")
_SIZES: Final = range(2**40)
_ATTEMPTS: Final = range(1, 1_000_001)


class Origin(StrEnum):
    """Who gave the message up, and over what."""

    COMPENSATION = "compensation"  # the orchestrator: a compensation exhausted its retries
    FORWARD = "forward"  # the orchestrator: a step past the pivot exhausted its retries
    LATE_SUCCESS = "late_success"  # the orchestrator: an effect may stand alone
    QUIET = "quiet"  # the recorder: a choreographed saga has no event any more
    REJECTED = "rejected"  # a program: it cannot be processed
    BROKER = "broker"  # the broker: the delivery limit, as a rule
    UNKNOWN = "unknown"


class Place(StrEnum):
    """The kind of queue in which the message died."""

    STARTS = "starts"
    REPLIES = "replies"
    COMMANDS = "commands"
    EVENTS = "events"
    NONE = "none"  # it was in no queue, or in none of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter. Texts are storable; whatever could not be read is None."""

    key: str  # letters with one key are one letter that came more than once
    arrival: str | None  # which time; the same one is a repetition by the broker
    origin: Origin
    place: Place
    queue: str | None  # where it died, or was rejected from
    reason: str  # one word
    signature: str
    saga_id: str | None = None
    saga_type: str | None = None
    step_name: str | None = None
    direction: Direction | None = None
    destination: str | None = None  # of a command: "PaymentService.RefundPayment"
    attempt: int | None = None
    error: str | None = None
    routing_key: str  # by which it came here
    type: str | None = None
    message_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""
    body_bytes: int = 0  # its full size: more than `body` has if that was cut

    @property
    def is_of_command(self) -> bool:
        """One letter for each step and direction: its body is the same every time."""
        exhausted = {Origin.COMPENSATION, Origin.FORWARD, Origin.LATE_SUCCESS}
        return self.origin in exhausted or self.place is Place.COMMANDS

    @property
    def is_whole(self) -> bool:
        return len(self.body) == self.body_bytes

    @property
    def participant(self) -> str | None:
        """Whose command or event it is: by its queue, which the broker knows, or by its type."""
        if self.place is Place.COMMANDS and self.queue:
            return self.queue.rpartition(".commands.")[2]
        if self.place is Place.EVENTS and self.queue:
            return self.queue.rpartition(".choreography.")[2]
        return participant_of(self.destination) if self.destination else None


def read_letter(delivery: Delivery, names: Names) -> DeadLetter:
    """The dead letter that `delivery` carries."""
    origin, place, queue = _provenance(delivery.routing_key, names)
    content = _content(delivery.body)
    saga_id = _matching(SAGA_ID, content.get("saga_id"), delivery.correlation_id)
    headers = delivery.headers
    step = _short(content.get("step_name")) or _short(headers.get("saga-step"))
    destination = _matching(DESTINATION, headers.get("saga-destination"), delivery.type)
    reason = _reason(delivery, origin)
    error = _error(delivery, origin, queue, content)
    letter = DeadLetter(
        key="",
        arrival=_short(delivery.message_id),
        origin=origin,
        place=place,
        queue=queue,
        reason=reason,
        signature="",
        saga_id=saga_id,
        saga_type=_short(headers.get("saga-type")) or _short(content.get("saga_type")),
        step_name=step,
        direction=_direction(headers.get("saga-direction"), origin),
        destination=destination,
        attempt=_attempt(headers.get("saga-attempt")),
        error=error,
        routing_key=storable_text(delivery.routing_key, 255),
        type=_short(delivery.type) or _short(first_routing_key(headers)),
        message_id=_short(delivery.message_id),
        headers=storable_json(dict(headers)),
        properties=_properties(delivery),
        body=delivery.body[:MAX_KEPT_BODY],
        body_bytes=max(len(delivery.body), _size(headers.get("saga-body-size"))),
    )
    return _identified(letter, delivery)


def bare_letter(delivery: Delivery) -> DeadLetter:
    """What is left if the database takes nothing else: the bytes, and where they came by."""
    digest = hashlib.sha256(delivery.body).hexdigest()
    return DeadLetter(
        key=f"unreadable|{digest}",
        arrival=None,
        origin=Origin.UNKNOWN,
        place=Place.NONE,
        queue=None,
        reason="unreadable",
        signature="unreadable",
        routing_key=ascii(delivery.routing_key)[:255],
        body=delivery.body[:MAX_KEPT_BODY],
        body_bytes=len(delivery.body),
    )


def _provenance(routing_key: str, names: Names) -> tuple[Origin, Place, str | None]:
    match routing_key:
        case "compensation" | "forward" | "late_success" | "quiet":
            return Origin(routing_key), Place.NONE, None
        case _ if routing_key.startswith(_REJECTED):
            queue = routing_key.removeprefix(_REJECTED)
            place = _place(queue, names)
            return Origin.REJECTED, place, None if place is Place.NONE else queue
        case _ if (place := _place(routing_key, names)) is not Place.NONE:
            return Origin.BROKER, place, routing_key
        case _:
            return Origin.UNKNOWN, Place.NONE, None


def _place(queue: str, names: Names) -> Place:
    if queue == names.starts:
        return Place.STARTS
    if queue == names.replies:
        return Place.REPLIES
    if _is_of_service(queue, names.commands_for("")):
        return Place.COMMANDS
    return Place.EVENTS if _is_of_service(queue, names.choreography_of("")) else Place.NONE


def _is_of_service(queue: str, prefix: str) -> bool:
    is_name = DESTINATION.fullmatch(f"{queue.removeprefix(prefix)}.x")
    return queue.startswith(prefix) and is_name is not None


def _content(body: bytes) -> Mapping[str, Any]:
    """The body's object, if it is one: only to know what the letter is about."""
    if len(body) > MAX_KEPT_BODY:
        return {}
    try:
        content = json.loads(body.decode())
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _matching(pattern: re.Pattern[str], *values: object) -> str | None:
    """The first value of that form."""
    texts = (value for value in values if isinstance(value, str) and pattern.fullmatch(value))
    return next(texts, None)


def _short(value: object) -> str | None:
    return storable_text(value, 255) if isinstance(value, str) and value else None


def _direction(value: object, origin: Origin) -> Direction | None:
    if origin is Origin.COMPENSATION:
        return Direction.COMPENSATION
    words = [direction for direction in Direction if direction == value]
    return words[0] if words else None


def _attempt(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value in _ATTEMPTS else None


def _size(value: object) -> int:
    """The size of a body that was cut when it was rejected; 0 if it was not."""
    return value if isinstance(value, int) and value in _SIZES else 0


def _reason(delivery: Delivery, origin: Origin) -> str:
    headers = delivery.headers
    if origin is Origin.BROKER:
        told = (
            headers.get("x-last-death-reason"),
            latest_death(headers).get("reason"),
            headers.get("x-first-death-reason"),
        )
        return _matching(_WORD, *told) or "dead_lettered"
    return _matching(_WORD, headers.get("saga-reason")) or "unknown"


def _error(
    delivery: Delivery, origin: Origin, queue: str | None, content: Mapping[str, Any]
) -> str | None:
    told = delivery.headers.get("saga-error")
    if isinstance(told, str) and told:
        return storable_text(told)
    if origin is Origin.BROKER:
        return f"{queue} gave it up: {_reason(delivery, origin)}"
    said = content.get("error")
    return storable_text(said) if isinstance(said, str) and said else None


def _properties(delivery: Delivery) -> Mapping[str, Any]:
    properties = {
        "exchange": delivery.exchange,
        "type": delivery.type,
        "message_id": delivery.message_id,
        "correlation_id": delivery.correlation_id,
        "content_type": delivery.content_type,
        "content_encoding": delivery.content_encoding,
        "app_id": delivery.app_id,
        "user_id": delivery.user_id,
        "timestamp": delivery.timestamp.isoformat() if delivery.timestamp else None,
    }
    return {
        name: storable_text(value, 255) for name, value in properties.items() if value is not None
    }


def _identified(letter: DeadLetter, delivery: Delivery) -> DeadLetter:
    """The letter with its signature and its identity."""
    signature = signature_of(
        reason=letter.reason,
        participant=letter.participant,
        step=letter.step_name,
        error=letter.error,
        saga_id=letter.saga_id,
    )
    if letter.is_of_command and letter.saga_id and letter.step_name:
        where = (letter.origin, letter.queue or "", letter.reason)
        key = _key(*where, letter.saga_id, letter.step_name, letter.direction or "")
        # Published twice after a crash, it has another message id: its attempt tells.
        arrival = _attempt_of(letter) or letter.arrival
        return replace(letter, signature=signature, key=key, arrival=arrival)
    if letter.origin is Origin.QUIET and letter.saga_id:
        # Published twice after a crash, it names the same moment.
        arrival = _short(delivery.headers.get("saga-quiet-at")) or letter.arrival
        key = _key(letter.origin, letter.saga_id)
        return replace(letter, signature=signature, key=key, arrival=arrival)
    digest = hashlib.sha256(delivery.body).hexdigest()
    key = _key("message", _first_id(delivery), digest)
    return replace(letter, signature=signature, key=key)


def _attempt_of(letter: DeadLetter) -> str | None:
    """A database that has lost commits counts their attempts again, in another epoch."""
    epoch = _short(letter.headers.get(EPOCH_HEADER))
    told = f"attempt {letter.attempt} of epoch {epoch}" if epoch else f"attempt {letter.attempt}"
    return told if letter.attempt else None


def _first_id(delivery: Delivery) -> str:
    """The id it had at first, before somebody rejected it or we sent it again.

    The body counts, too: these headers may be forged.
    """
    headers = delivery.headers
    known = (headers.get(FIRST_ID), headers.get(ORIGINAL_ID), delivery.message_id)
    return next((each for each in known if isinstance(each, str) and each), "")


def _key(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode(errors="backslashreplace")).hexdigest()
