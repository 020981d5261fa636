"""From deliveries to what the core understands."""

from dataclasses import replace
from typing import Any, NamedTuple

from messaging import codec
from messaging.contract import CancelRequest, Effect, Reply, ReplyType, StartRequest
from messaging.errors import ProtocolError
from messaging.port import Delivery
from orchestrator.ids import saga_id_for
from orchestrator.saga import state


class Arrival(NamedTuple):  # one for each delivery: a tuple costs a quarter of a dataclass
    """One delivery and what it says: an event for a saga, a start, or a breach of the contract."""

    delivery: Delivery
    saga_id: str | None = None  # None: rejected, or a start that leaves the id to us
    event: state.Event | None = None
    start: StartRequest | None = None
    rejection: ProtocolError | None = None


def read_reply(delivery: Delivery) -> Arrival:
    """A delivery from the replies queue. Never raises."""
    try:
        reply = codec.decode_reply(delivery)
    except ProtocolError as error:
        return Arrival(delivery=delivery, rejection=error)
    return Arrival(delivery=delivery, saga_id=reply.saga_id, event=event_of(reply, delivery))


def read_start(delivery: Delivery) -> Arrival:
    """A delivery from the starts queue: a start or a cancel. Never raises."""
    try:
        request = codec.decode_start(delivery)
    except ProtocolError as error:
        return Arrival(delivery=delivery, rejection=error)
    match request:
        case StartRequest():
            return Arrival(delivery=delivery, saga_id=request.saga_id, start=request)
        case CancelRequest():
            event = state.CancelRequested(
                reason=request.reason,
                actor=_sender(delivery) or "a client",
                cause=cause_of(delivery),
                redelivered=comes_again(delivery),
            )
            return Arrival(delivery=delivery, saga_id=request.saga_id, event=event)


def saga_id_of(arrival: Arrival) -> str:
    """The saga that it is about; empty if it names none."""
    if arrival.saga_id is None and arrival.start is not None:
        return id_for_start(arrival.delivery)
    return arrival.saga_id or ""


def id_for_start(delivery: Delivery) -> str:
    """The id of a saga whose start message names none. A message sent again by the dlq worker
    is known by the first one's identity."""
    first = _first_id(delivery)
    identity = codec.identity_of(delivery) if first is None else first
    return saga_id_for(identity, delivery.timestamp if first is None else None)


def cause_of(delivery: Delivery) -> str:
    """The identity of the message; of one that the dlq worker sends again, that of the first."""
    first = _first_id(delivery)
    return codec.identity_of(delivery if first is None else replace(delivery, message_id=first))


def comes_again(delivery: Delivery) -> bool:
    """It may have brought about something that has not left: what that was is sent again."""
    return delivery.redelivered or _first_id(delivery) is not None


def _first_id(delivery: Delivery) -> str | None:
    """Which message this one repeats; None if the dlq worker has not sent it."""
    first = delivery.headers.get("saga-first-message-id")
    return first if isinstance(first, str) else None


def doubtful(arrival: Arrival) -> Arrival:
    """The same arrival, when a commit of it has failed: it may have taken place all the same.

    Then it must be recognised as if it came again, so that what it brought about is sent.
    """
    event = arrival.event
    if isinstance(event, state.Reply | state.CancelRequested):
        event = replace(event, redelivered=True)
    delivery = replace(arrival.delivery, redelivered=True)
    return arrival._replace(delivery=delivery, event=event)


def event_of(reply: Reply, delivery: Delivery) -> state.Reply:
    """The reply as an event of the core."""
    origin: dict[str, Any] = {
        "step": reply.step_name,
        "attempt": reply.attempt,
        "cause": cause_of(delivery),
        "actor": _sender(delivery),
        "redelivered": comes_again(delivery),
        "epoch": reply.epoch,
    }
    error = reply.error or "no reason given"
    match reply.type:
        case ReplyType.STEP_COMPLETED:
            return state.StepCompleted(**origin, result=reply.result or {})
        case ReplyType.STEP_FAILED:
            unknown = reply.effect is Effect.UNKNOWN
            retryable = bool(reply.retryable)
            return state.StepFailed(
                **origin, error=error, retryable=retryable, effect_unknown=unknown
            )
        case ReplyType.COMPENSATION_COMPLETED:
            return state.CompensationCompleted(**origin)
        case ReplyType.COMPENSATION_FAILED:
            retryable = reply.retryable is not False
            return state.CompensationFailed(**origin, error=error, retryable=retryable)


def _sender(delivery: Delivery) -> str | None:
    return delivery.user_id or delivery.app_id
