"""The contract as an AsyncAPI 3.0 document, seen from the orchestrator, and as JSON Schemas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from messaging.contract import Direction, ReplyType, StartType
from messaging.topology import Names, Queue, installation
from orchestrator.contracts import messages
from orchestrator.contracts.agreements import Agreement
from orchestrator.contracts.fields import UNKNOWN, Fields, input_of
from orchestrator.contracts.outlines import Outline

VERSION: Final = "0.3.0"  # of the AMQP bindings
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ABOUT: Final = (
    "What the orchestrator sends and receives for these sagas. A participant consumes the queue "
    "of its commands, publishes each reply persistent, mandatory and confirmed, and only then "
    "acknowledges the command. Fields that nobody knows are ignored."
)
_ENDS: Final = ("Completed", "Failed")
_OTHER_EVENTS: Final = tuple(messages.other_events())
_OTHER_REPLIES: Final = tuple(messages.other_replies())
_FAILURES: Final = {
    Direction.ACTION: (ReplyType.STEP_FAILED,),
    Direction.COMPENSATION: (ReplyType.COMPENSATION_COMPLETED, ReplyType.COMPENSATION_FAILED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All that is agreed on about some definitions."""

    outlines: tuple[Outline, ...]
    agreements: tuple[Agreement, ...]


def asyncapi(contract: Contract, names: Names, *, release: str) -> dict[str, Any]:
    """The document. The same for the same definitions, byte for byte."""
    types = ", ".join(outline.saga_type for outline in contract.outlines)
    written = _messages(contract)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Sagas: {types}",
            "version": release,
            "description": _ABOUT,
        },
        "defaultContentType": "application/json",
        "channels": _channels(contract, names),
        "operations": _operations(contract),
        "components": {
            "correlationIds": {
                "saga": {
                    "description": "the saga's id",
                    "location": "$message.payload#/saga_id",
                }
            },
            "messages": written,
        },
    }


def json_schemas(contract: Contract) -> dict[str, dict[str, Any]]:
    """A schema of each message's body, by the message's name."""
    return {
        name: {"$schema": DIALECT, "title": name, **message["payload"]}
        for name, message in _messages(contract).items()
    }


def completed_name(destination: str) -> str:
    """Of the message that says that this command is done."""
    return f"{destination}.{ReplyType.STEP_COMPLETED}"


def _messages(contract: Contract) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in contract.agreements:
        found[each.destination] = messages.command_message(each)
        if each.direction is Direction.ACTION:
            found[completed_name(each.destination)] = messages.completed_message(each)
    found |= messages.other_replies()
    for outline in contract.outlines:
        data = data_of(outline)
        found[_start_name(outline)] = messages.start_message(outline, data)
        found |= messages.end_messages(outline, data)
    return found | {StartType.CANCEL.value: messages.cancel_message()} | messages.other_events()


def data_of(outline: Outline) -> Fields:
    """What sagas of this type start with."""
    first, *others = [input_of(outline, layout) for layout in outline.layouts] or [UNKNOWN]
    for each in others:
        first = first.either(each)
    return first


def _start_name(outline: Outline) -> str:
    return f"{outline.saga_type}.{StartType.START}"


def _channels(contract: Contract, names: Names) -> dict[str, Any]:
    """An exchange with a routing key for all that is published, a queue for all that is read."""
    by_participant: dict[str, list[str]] = {}
    for each in contract.agreements:
        by_participant.setdefault(each.participant, []).append(each.destination)
    starts = [_start_name(outline) for outline in contract.outlines]
    actions = [each for each in contract.agreements if each.direction is Direction.ACTION]
    completed = [completed_name(each.destination) for each in actions]
    replies = {kind.value: [kind.value] for kind in ReplyType}
    replies[ReplyType.STEP_COMPLETED.value] = completed
    events = [f"{each.saga_type}{end}" for each in contract.outlines for end in _ENDS]
    queues = {each.name: each for each in installation(names, by_participant).queues}
    return {
        **{
            f"commands.{participant}": _queue(queues[names.commands_for(participant)], of)
            for participant, of in by_participant.items()
        },
        **{
            each.destination: _route(names.commands, "topic", each.destination)
            for each in contract.agreements
        },
        "replies": _queue(queues[names.replies], [*completed, *_OTHER_REPLIES]),
        **{kind: _route(names.replies, "direct", kind, of) for kind, of in replies.items()},
        "starts": _queue(queues[names.starts], [*starts, StartType.CANCEL.value]),
        StartType.START.value: _route(names.starts, "direct", StartType.START.value, starts),
        StartType.CANCEL.value: _route(names.starts, "direct", StartType.CANCEL.value),
        **{name: _route(names.events, "topic", name) for name in [*events, *_OTHER_EVENTS]},
    }


def _queue(queue: Queue, of: Iterable[str]) -> dict[str, Any]:
    told = {"name": queue.name, "durable": True, "exclusive": False, "autoDelete": False}
    binding = {"is": "queue", "queue": told, "bindingVersion": VERSION}
    return {
        "address": queue.name,
        "messages": _references(of),
        "bindings": {"amqp": binding},
        "x-queue-arguments": dict(queue.arguments),
    }


def _route(exchange: str, kind: str, key: str, of: Sequence[str] | None = None) -> dict[str, Any]:
    told = {"name": exchange, "type": kind, "durable": True, "autoDelete": False}
    binding = {"is": "routingKey", "exchange": told, "bindingVersion": VERSION}
    return {
        "address": key,
        "messages": _references([key] if of is None else of),
        "bindings": {"amqp": binding},
    }


def _references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _operations(contract: Contract) -> dict[str, Any]:
    starts = [_start_name(outline) for outline in contract.outlines]
    ends = [f"{each.saga_type}{end}" for each in contract.outlines for end in _ENDS]
    return {
        **{f"send.{each.destination}": _command(each) for each in contract.agreements},
        "receive.starts": _received("starts", [*starts, StartType.CANCEL.value]),
        **{f"send.{name}": _sent(name, is_mandatory=False) for name in [*ends, *_OTHER_EVENTS]},
    }


def _command(agreement: Agreement) -> dict[str, Any]:
    """With its replies, which all come by the same queue."""
    name = agreement.destination
    done = [completed_name(name)] if agreement.direction is Direction.ACTION else []
    answers = [*done, *(kind.value for kind in _FAILURES[agreement.direction])]
    return {
        **_sent(name, is_mandatory=True),
        "summary": f"{agreement.direction} of {agreement.places}",
        "reply": {
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": f"#/channels/replies/messages/{each}"} for each in answers],
        },
    }


def _sent(channel: str, *, is_mandatory: bool) -> dict[str, Any]:
    binding = {"deliveryMode": 2, "timestamp": True, "mandatory": is_mandatory}
    return _operation("send", channel, [channel], binding)


def _received(channel: str, of: Iterable[str]) -> dict[str, Any]:
    return _operation("receive", channel, of, {"ack": True})


def _operation(
    action: str, channel: str, of: Iterable[str], binding: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{each}"} for each in of],
        "bindings": {"amqp": {**binding, "bindingVersion": VERSION}},
    }
