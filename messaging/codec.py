"""Between deliveries and messages (CONTRACT §2). Pure; decoding raises only ProtocolError."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from messaging import limits, reading, rejection
from messaging.contract import (
    DESTINATION,
    EPOCH_HEADER,
    MAX_BODY_BYTES,
    MAX_DATA_BYTES,
    MAX_ERROR_BYTES,
    MAX_RESULT_BYTES,
    RESERVED_KEYS,
    CancelRequest,
    Command,
    Direction,
    Effect,
    Reply,
    ReplyType,
    StartRequest,
    StartType,
    command_id_for,
)
from messaging.errors import ProtocolError
from messaging.port import Delivery, Outgoing
from messaging.strict_json import check_value, dump
from messaging.texts import escaped, moment_text, within
from messaging.topology import Names

# A command carries all of a saga's data and one result, with a little room for names.
MAX_COMMAND_BYTES: Final = MAX_DATA_BYTES + MAX_RESULT_BYTES + 4 * 1024
MAX_SAGA_TYPE: Final = 100
REJECTION_DETAIL_BYTES: Final = 256


def decode_command(delivery: Delivery) -> Command:
    """What a participant is asked. Its type is the destination."""
    body = reading.content_of(delivery, limit=MAX_COMMAND_BYTES)
    saga_id, step_name = reading.saga_id_of(body), reading.name_of(body, "step_name")
    direction = reading.header_choice(delivery, "saga-direction", Direction)
    known_id = reading.header_text(delivery, "saga-command-id")
    return Command(
        saga_id=saga_id,
        saga_type=reading.header_text(delivery, "saga-type") or "",
        step_name=step_name,
        direction=direction,
        destination=_destination_of(delivery),
        command_id=known_id or command_id_for(saga_id, step_name, direction),
        attempt=reading.header_attempt(delivery) or 1,
        deadline=reading.header_moment(delivery, "saga-deadline"),
        data={key: value for key, value in body.items() if key not in RESERVED_KEYS},
        original_result=_original_result(body, direction),
        traceparent=reading.traceparent_of(delivery),
        epoch=reading.header_text(delivery, EPOCH_HEADER),
    )


def decode_reply(delivery: Delivery) -> Reply:
    """What a participant answered. Fields that its type does not know are ignored."""
    kind = reading.kind_of(delivery, ReplyType)
    body = reading.content_of(delivery)
    return Reply(
        type=kind,
        saga_id=reading.saga_id_of(body),
        step_name=reading.name_of(body, "step_name"),
        command_id=reading.header_text(delivery, "saga-command-id"),
        attempt=reading.header_attempt(delivery),
        traceparent=reading.traceparent_of(delivery),
        epoch=reading.header_text(delivery, EPOCH_HEADER),
        **_outcome(kind, body, len(delivery.body)),
    )


def decode_start(delivery: Delivery) -> StartRequest | CancelRequest:
    """What a client asked for."""
    kind = reading.kind_of(delivery, StartType)
    body = reading.content_of(delivery)
    match kind:
        case StartType.START:
            return _start(delivery, body)
        case StartType.CANCEL:
            reason = reading.name_of(body, "reason", limit=MAX_BODY_BYTES)
            return CancelRequest(
                saga_id=reading.saga_id_of(body), reason=within(reason, MAX_ERROR_BYTES)
            )


def encode_command(names: Names, command: Command) -> Outgoing:
    return command_message(
        names,
        saga_id=command.saga_id,
        saga_type=command.saga_type,
        step_name=command.step_name,
        direction=command.direction,
        destination=command.destination,
        attempt=command.attempt,
        deadline=command.deadline,
        body=dump(command_body(command)),
        traceparent=command.traceparent,
        command_id=command.command_id,
        epoch=command.epoch,
    )


def command_body(command: Command) -> dict[str, Any]:
    """The data laid flat beside the reserved keys, which data can never replace."""
    body: dict[str, Any] = {"saga_id": command.saga_id, "step_name": command.step_name}
    body |= {key: value for key, value in command.data.items() if key not in RESERVED_KEYS}
    if command.direction is Direction.COMPENSATION:
        result = command.original_result
        body["original_result"] = None if result is None else dict(result)
    return body


def command_message(  # noqa: PLR0913  # one for each field of CONTRACT §2, all by name
    names: Names,
    *,
    saga_id: str,
    saga_type: str,
    step_name: str,
    direction: Direction,
    destination: str,
    attempt: int,
    deadline: datetime | None,
    body: bytes,
    traceparent: str | None,
    command_id: str | None = None,
    epoch: str | None = None,
) -> Outgoing:
    """A command around a body that is there already, exactly as it was stored."""
    headers: dict[str, str | int] = {
        "saga-type": saga_type,
        "saga-direction": str(direction),
        "saga-command-id": command_id or command_id_for(saga_id, step_name, direction),
        "saga-attempt": attempt,
    }
    if deadline:
        headers["saga-deadline"] = moment_text(deadline)
    if epoch is not None:
        headers[EPOCH_HEADER] = epoch
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return Outgoing(
        exchange=names.commands,
        routing_key=destination,
        type=destination,
        body=body,
        correlation_id=saga_id,
        headers=headers,
    )


def encode_reply(names: Names, reply: Reply) -> Outgoing:
    """ProtocolError if the result breaks a rule: the orchestrator would reject it."""
    headers = {
        "saga-command-id": reply.command_id,
        "saga-attempt": reply.attempt,
        EPOCH_HEADER: reply.epoch,
        "traceparent": reply.traceparent,
    }
    said = _said(reply)
    body = dump({"saga_id": reply.saga_id, "step_name": reply.step_name, **said})
    if "result" in said:
        limits.check_parsed_result(said["result"], len(body))
    return Outgoing(
        exchange=names.replies,
        routing_key=reply.type,
        type=reply.type,
        body=body,
        correlation_id=reply.saga_id,
        headers=_known(headers),
    )


def encode_start(names: Names, request: StartRequest) -> Outgoing:
    """ProtocolError if the data break a rule: the orchestrator would reject them."""
    limits.check_data(request.data)
    body: dict[str, Any] = {"saga_type": request.saga_type}
    if request.saga_id is not None:
        body["saga_id"] = request.saga_id
    content = dump(body | {"data": dict(request.data)})
    if len(content) > MAX_BODY_BYTES:
        detail = f"the start has {len(content)} bytes; at most {MAX_BODY_BYTES} pass the broker"
        raise ProtocolError("too_large", detail)
    headers = _known({"traceparent": request.traceparent})
    return _to_starts(names, StartType.START, content, request.saga_id, headers)


def encode_cancel(names: Names, request: CancelRequest) -> Outgoing:
    reason = within(request.reason, MAX_ERROR_BYTES)
    content = dump({"saga_id": request.saga_id, "reason": reason})
    return _to_starts(names, StartType.CANCEL, content, request.saga_id, {})


def rejected(names: Names, delivery: Delivery, reason: str, detail: str) -> Outgoing:
    """The copy for the dead letters of a message that cannot be processed, and why."""
    body, about_body = rejection.kept_body(delivery.body)
    correlation_id = delivery.correlation_id
    return Outgoing(
        exchange=names.dead,
        routing_key=rejection.short(f"rejected.{delivery.queue}"),
        type=rejection.named_type(delivery),
        body=body,
        correlation_id=rejection.short(correlation_id) if correlation_id else None,
        headers={
            **rejection.kept_headers(delivery),
            **rejection.origins(delivery),
            **about_body,
            "saga-reason": reason,
            "saga-error": escaped(detail, REJECTION_DETAIL_BYTES),
        },
    )


def identity_of(delivery: Delivery) -> str:
    """What tells this message from others: its id, or else a digest of what it says."""
    if delivery.message_id:
        return escaped(delivery.message_id, rejection.SHORT_BYTES)
    content = delivery.routing_key.encode(errors="backslashreplace") + b"\0" + delivery.body
    return f"sha256:{hashlib.sha256(content).hexdigest()[:32]}"


def _said(reply: Reply) -> dict[str, Any]:
    """The fields of a reply that only its type has."""
    match reply.type:
        case ReplyType.COMPENSATION_COMPLETED if reply.result is None:
            return {}
        case ReplyType.STEP_COMPLETED | ReplyType.COMPENSATION_COMPLETED:
            result = dict(reply.result or {})
            check_value(result)
            return {"result": result}
        case ReplyType.STEP_FAILED if reply.effect is not Effect.NONE:
            return {**_error(reply), "effect": reply.effect}
        case ReplyType.STEP_FAILED | ReplyType.COMPENSATION_FAILED:
            return _error(reply)


def _error(reply: Reply) -> dict[str, Any]:
    error = within(reply.error or "", MAX_ERROR_BYTES)
    return {"error": error} | ({} if reply.retryable is None else {"retryable": reply.retryable})


def _to_starts(
    names: Names, kind: StartType, body: bytes, saga_id: str | None, headers: dict[str, str | int]
) -> Outgoing:
    return Outgoing(
        exchange=names.starts,
        routing_key=kind,
        type=kind,
        body=body,
        correlation_id=saga_id,
        headers=headers,
    )


def _known(headers: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in headers.items() if value is not None}


def _destination_of(delivery: Delivery) -> str:
    name = reading.type_of(delivery)
    if not DESTINATION.fullmatch(name):
        detail = f"the type {name[:60]!a} is no Participant.Command"
        raise ProtocolError("unknown_type", detail)
    return name


def _original_result(body: Mapping[str, Any], direction: Direction) -> dict[str, Any] | None:
    if direction is Direction.ACTION:
        return None
    return reading.object_of(body, "original_result")


def _outcome(kind: ReplyType, body: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The fields of a reply that only its type has."""
    match kind:
        case ReplyType.STEP_COMPLETED | ReplyType.COMPENSATION_COMPLETED:
            return {"result": reading.result_of(body, size)}
        case ReplyType.STEP_FAILED:
            effect = reading.choice_of(body, "effect", Effect)
            return {**reading.failure_of(body), "effect": effect or Effect.NONE}
        case ReplyType.COMPENSATION_FAILED:
            return reading.failure_of(body)


def _start(delivery: Delivery, body: Mapping[str, Any]) -> StartRequest:
    saga_type = reading.name_of(body, "saga_type", limit=MAX_SAGA_TYPE)
    data = reading.object_of(body, "data") or {}
    limits.check_parsed_data(data, len(delivery.body))
    return StartRequest(
        saga_type=saga_type,
        saga_id=None if body.get("saga_id") is None else reading.saga_id_of(body),
        data=data,
        traceparent=reading.traceparent_of(delivery),
    )
