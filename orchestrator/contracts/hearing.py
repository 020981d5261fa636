"""What is wrong with a reply, field by field, held to the contract and to the command. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from messaging.codec import decode_reply
from messaging.contract import EPOCH_HEADER, Command, ReplyType
from messaging.errors import ProtocolError
from messaging.port import Delivery
from messaging.rabbit_probe import Heard
from messaging.strict_json import parse_object
from orchestrator.contracts.bodies import Breach, breaches
from orchestrator.contracts.document import completed_name
from orchestrator.contracts.written import Document, messages_in

_PERSISTENT: Final = 2


def wrong_with(
    heard: Heard, command: Command, expected: Sequence[ReplyType], document: Document
) -> tuple[Breach, ...]:
    """The breaches of one reply; a wrong type alone, for then nothing else fits."""
    delivery = heard.delivery
    kinds = [kind.value for kind in expected]
    if delivery.type not in kinds:
        wanted = " or ".join(kinds)
        told = _error_of(delivery)
        return (Breach(field="type", detail=f"is {delivery.type!r}{told}, and shall be {wanted}"),)
    found = (*_of_properties(heard, command), *_of_content(delivery, command, document))
    return found or tuple(_as_the_orchestrator_reads_it(delivery))


def same_but_for_its_id(first: Delivery, again: Delivery) -> Iterator[Breach]:
    """A repeated command gets the stored reply, published anew."""
    if first.message_id is not None and first.message_id == again.message_id:
        yield Breach(field="message_id", detail="is the same; every publish has one of its own")
    for name in ("type", "correlation_id"):
        if getattr(first, name) != getattr(again, name):
            yield Breach(field=name, detail="differs from the first reply to the same command")
    if first.headers.get("saga-command-id") != again.headers.get("saga-command-id"):
        yield Breach(field="headers.saga-command-id", detail="differs from the first reply's")
    yield from _differences(_body(first), _body(again), "body")


def _of_properties(heard: Heard, command: Command) -> Iterator[Breach]:
    delivery = heard.delivery
    if delivery.routing_key != delivery.type:
        detail = f"is {delivery.routing_key!r}, and shall be the type, {delivery.type!r}"
        yield Breach(field="routing_key", detail=detail)
    if delivery.content_type != "application/json":
        detail = f"is {delivery.content_type!r}, and shall be application/json"
        yield Breach(field="content_type", detail=detail)
    if heard.delivery_mode != _PERSISTENT:
        detail = f"is {heard.delivery_mode}, and shall be 2: persistent"
        yield Breach(field="delivery_mode", detail=detail)
    if not delivery.message_id:
        yield Breach(field="message_id", detail="is missing; every publish has one of its own")
    if delivery.correlation_id != command.saga_id:
        detail = f"is {delivery.correlation_id!r}, and shall be the saga's id"
        yield Breach(field="correlation_id", detail=detail)


def _of_content(delivery: Delivery, command: Command, document: Document) -> Iterator[Breach]:
    message = _message_for(delivery, command, document)
    yield from breaches(dict(delivery.headers), message.get("headers", {}), where="headers")
    echoed = {"saga-command-id": command.command_id, "saga-attempt": command.attempt}
    for name, value in echoed.items():
        if name in delivery.headers and delivery.headers[name] != value:
            yield Breach(field=f"headers.{name}", detail=f"is not the command's, {value!r}")
    if delivery.headers.get(EPOCH_HEADER, command.epoch) != command.epoch:
        yield Breach(field=f"headers.{EPOCH_HEADER}", detail="is not the first command's")
    try:
        body = parse_object(delivery.body)
    except ProtocolError as error:
        yield Breach(field="body", detail=error.detail)
        return
    yield from breaches(body, message.get("payload", {}), where="body")
    yield from _of_body(body, command)


def _of_body(body: Mapping[str, Any], command: Command) -> Iterator[Breach]:
    for name, value in (("saga_id", command.saga_id), ("step_name", command.step_name)):
        if isinstance(body.get(name), str) and body[name] != value:
            yield Breach(field=f"body.{name}", detail=f"is not the command's, {value!r}")


def _as_the_orchestrator_reads_it(delivery: Delivery) -> Iterator[Breach]:
    """The limits that no schema knows."""
    try:
        decode_reply(delivery)
    except ProtocolError as error:
        yield Breach(field="body", detail=f"would be rejected: {error}")


def _message_for(delivery: Delivery, command: Command, document: Document) -> Mapping[str, Any]:
    completed = delivery.type == ReplyType.STEP_COMPLETED
    name = completed_name(command.destination) if completed else str(delivery.type)
    return messages_in(document).get(name, {})  # type: ignore[no-any-return]


def _differences(first: Any, again: Any, where: str) -> Iterator[Breach]:
    if isinstance(first, dict) and isinstance(again, dict):
        for name in sorted({*first, *again}):
            yield from _differences(first.get(name), again.get(name), f"{where}.{name}")
    elif first != again:
        yield Breach(field=where, detail="differs from the first reply to the same command")


def _body(delivery: Delivery) -> Any:
    try:
        return parse_object(delivery.body)
    except ProtocolError:
        return delivery.body


def _error_of(delivery: Delivery) -> str:
    """What a failure says, which is the reason why it is not what was expected."""
    body = _body(delivery)
    error = body.get("error") if isinstance(body, dict) else None
    return f" ({error})" if isinstance(error, str) else ""
