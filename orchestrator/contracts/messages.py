"""The messages of a contract as AsyncAPI message objects: properties, headers, bodies."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from messaging.contract import (
    EPOCH_HEADER,
    MAX_ERROR_BYTES,
    SAGA_ID,
    Direction,
    ReplyType,
    StartType,
    command_id_for,
)
from messaging.reading import MAX_ATTEMPT, MAX_NAME
from orchestrator.contracts.agreements import Agreement, schema_for
from orchestrator.contracts.fields import Fields
from orchestrator.contracts.outlines import Outline
from orchestrator.contracts.schemas import Schema

Message = dict[str, Any]

EXAMPLE_SAGA: Final = "example-1"
_ID: Final[Schema] = {"type": "string", "pattern": f"^{SAGA_ID.pattern}$"}
_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_ERROR: Final[Schema] = {"type": "string", "description": f"kept to {MAX_ERROR_BYTES} bytes"}
_TEXT: Final[Schema] = {"type": "string"}
_CORRELATION: Final = {"$ref": "#/components/correlationIds/saga"}
_ATTEMPT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPT}
_COMMAND_ID: Final[Schema] = {
    **_NAME,
    "description": "the idempotency key: the same for every attempt and redelivery of this step "
    "in this direction",
}
_EPOCH: Final[Schema] = {
    "type": "string",
    "description": "opaque; kept with the stored reply, and sent back with every later one",
}
_TRACEPARENT: Final[Schema] = {"type": "string", "description": "W3C trace context"}


def command_message(agreement: Agreement) -> Message:
    """What the orchestrator sends to a participant."""
    message = _message(
        agreement.destination,
        f"the {agreement.direction} of {agreement.places}",
        headers=_command_headers(agreement),
        payload=_command_body(agreement),
    )
    if agreement.examples:
        message["examples"] = [_example(agreement, data) for data in agreement.examples]
    message["x-saga"] = {
        "direction": agreement.direction.value,
        "is-complete": agreement.carries.is_complete,
        "steps": [
            {
                "saga-type": use.saga_type,
                "step-name": use.step_name,
                "counterpart": use.counterpart,
            }
            for use in agreement.uses
        ],
    }
    return message


def completed_message(agreement: Agreement) -> Message:
    """What an action's participant answers when it is done."""
    steps = sorted({use.step_name for use in agreement.uses})
    payload = _body(
        step_name={"type": "string", "enum": steps},
        result=schema_for(agreement.answers),
    )
    name = ReplyType.STEP_COMPLETED.value
    about = f"{agreement.destination} is done; its result is merged into the saga's data"
    message = _message(name, about, headers=_reply_headers(), payload=payload)
    message["x-saga"] = {"is-complete": agreement.answers.is_complete}
    return message


def other_replies() -> dict[str, Message]:
    """The replies that look the same for every command."""
    flag = {"type": "boolean"}
    failed = _body(error=_ERROR)
    failed["properties"] |= {"retryable": flag, "effect": {"enum": ["none", "unknown"]}}
    undone = _body()
    undone["properties"]["result"] = {"type": ["object", "null"]}
    stuck = _body(error=_ERROR)
    stuck["properties"]["retryable"] = flag
    told = {
        ReplyType.STEP_FAILED: ("the participant says no, or does not know", failed),
        ReplyType.COMPENSATION_COMPLETED: ("undone, or there was nothing to undo", undone),
        ReplyType.COMPENSATION_FAILED: ("it could not be undone", stuck),
    }
    return {
        kind.value: _message(kind.value, about, headers=_reply_headers(), payload=payload)
        for kind, (about, payload) in told.items()
    }


def start_message(outline: Outline, data: Fields) -> Message:
    payload: Schema = {
        "type": "object",
        "properties": {
            "saga_type": {"const": outline.saga_type},
            "saga_id": {**_ID, "description": "makes the start idempotent; drawn if left out"},
            "data": schema_for(data),
        },
        "required": ["saga_type", "data"] if data.sure else ["saga_type"],
    }
    message = _message(StartType.START.value, f"starts a {outline.saga_type}", payload=payload)
    if outline.is_exemplary:
        shown = [data for layout in outline.layouts for data in layout.data]
        bodies = [{"saga_type": outline.saga_type, "data": dict(data)} for data in shown]
        message["examples"] = [{"payload": body} for body in bodies]
    return message


def cancel_message() -> Message:
    payload = _object({"saga_id": _ID, "reason": _TEXT})
    return _message(StartType.CANCEL.value, "asks for the way back", payload=payload)


def end_messages(outline: Outline, data: Fields) -> dict[str, Message]:
    """The events with which a saga of this type ends."""
    completed, failed = f"{outline.saga_type}Completed", f"{outline.saga_type}Failed"
    said = _object({"saga_id": _ID, "error": _nullable(_TEXT), "failed_step": _nullable(_TEXT)})
    fields = dict(data.known)
    return {
        completed: _message(completed, "it is done", payload=_with(fields, _object(saga_id=_ID))),
        failed: _message(failed, "it failed, and is undone", payload=_with(fields, said)),
    }


def other_events() -> dict[str, Message]:
    about = {"saga_id": _ID, "saga_type": _NAME, "step_name": _NAME}
    said = {
        "SagaCompensationDeadLettered": (
            "a compensation has used up its retries",
            {"error": _TEXT},
        ),
        "SagaInterventionResolved": ("a person has acted", {"by": _TEXT, "reason": _TEXT}),
    }
    return {
        name: _message(name, what, payload=_with(more, _object(about)))
        for name, (what, more) in said.items()
    }


def _message(kind: str, about: str, *, payload: Schema, headers: Schema | None = None) -> Message:
    return {
        "name": kind,
        "title": kind,
        "summary": about,
        "contentType": "application/json",
        "correlationId": _CORRELATION,
        "headers": headers or {"type": "object", "properties": {"traceparent": _TRACEPARENT}},
        "payload": payload,
        "bindings": {"amqp": {"messageType": kind, "bindingVersion": "0.3.0"}},
    }


def _command_headers(agreement: Agreement) -> Schema:
    types = sorted({use.saga_type for use in agreement.uses})
    headers = _object(
        {
            "saga-type": {"type": "string", "enum": types},
            "saga-direction": {"const": agreement.direction.value},
            "saga-command-id": _COMMAND_ID,
            "saga-attempt": _ATTEMPT,
        }
    )
    headers["properties"] |= {
        "saga-deadline": {
            "type": "string",
            "format": "date-time",
            "description": "when the orchestrator stops waiting; advisory",
        },
        EPOCH_HEADER: _EPOCH,
        "traceparent": _TRACEPARENT,
    }
    return headers


def _reply_headers() -> Schema:
    headers = _object({"saga-command-id": _COMMAND_ID, "saga-attempt": _ATTEMPT})
    headers["properties"] |= {EPOCH_HEADER: _EPOCH, "traceparent": _TRACEPARENT}
    return headers


def _command_body(agreement: Agreement) -> Schema:
    steps = sorted({use.step_name for use in agreement.uses})
    body = _body(step_name={"type": "string", "enum": steps})
    if agreement.direction is Direction.COMPENSATION:
        result = {**schema_for(agreement.answers), "type": ["object", "null"]}
        body["properties"]["original_result"] = {
            **result,
            "description": "what the step's action has answered; null if nobody knows",
        }
        body["required"] = [*body["required"], "original_result"]
    return _with(agreement.carries.known, body, agreement.carries.sure)


def _example(agreement: Agreement, data: Mapping[str, Any]) -> dict[str, Any]:
    use = agreement.uses[0]
    about: dict[str, Any] = {"saga_id": EXAMPLE_SAGA, "step_name": use.step_name}
    if agreement.direction is Direction.COMPENSATION:
        about["original_result"] = None
    command_id = command_id_for(EXAMPLE_SAGA, use.step_name, agreement.direction)
    headers = {
        "saga-type": use.saga_type,
        "saga-direction": agreement.direction.value,
        "saga-command-id": command_id,
        "saga-attempt": 1,
    }
    return {"headers": headers, "payload": {**about, **data}}


def _body(**fields: Schema) -> dict[str, Any]:
    return _object({"saga_id": _ID, "step_name": _NAME, **fields})


def _object(fields: Mapping[str, Schema] | None = None, **more: Schema) -> dict[str, Any]:
    """An object that has all of these."""
    properties = {**(fields or {}), **more}
    return {"type": "object", "properties": properties, "required": [*properties]}


def _with(
    fields: Mapping[str, Schema], described: dict[str, Any], sure: Iterable[str] = ()
) -> dict[str, Any]:
    """With the saga's data beside what it has already, which data never replace."""
    return {
        **described,
        "properties": {**fields, **described["properties"]},
        "required": [*described["required"], *sorted(set(sure) - set(described["required"]))],
    }


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
