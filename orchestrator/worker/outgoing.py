"""From what a saga owes to messages on the wire."""

from messaging import codec
from messaging.contract import EPOCH_HEADER, Direction, command_id_for
from messaging.port import Outgoing
from messaging.topology import Names
from orchestrator.saga.state import Outbound, OutboundKind, Saga


def message_for(names: Names, saga: Saga, outbound: Outbound) -> Outgoing:
    """The message to publish, with the exact body that was stored."""
    match outbound.kind:
        case OutboundKind.COMMAND:
            return codec.command_message(
                names,
                saga_id=saga.saga_id,
                saga_type=saga.saga_type,
                step_name=outbound.step or "",
                direction=Direction(outbound.direction or "action"),
                destination=outbound.destination,
                attempt=outbound.attempt or 1,
                deadline=outbound.deadline,
                body=outbound.body.encode(),
                traceparent=saga.traceparent,
                epoch=saga.epoch,
            )
        case OutboundKind.EVENT:
            return _event(names, saga, outbound)
        case OutboundKind.DEAD_LETTER:
            return _dead_letter(names, saga, outbound)


def _event(names: Names, saga: Saga, outbound: Outbound) -> Outgoing:
    headers = {"saga-type": saga.saga_type}
    if saga.traceparent:
        headers["traceparent"] = saga.traceparent
    return Outgoing(
        exchange=names.events,
        routing_key=outbound.destination,
        type=outbound.destination,
        body=outbound.body.encode(),
        correlation_id=saga.saga_id,
        headers=headers,
        mandatory=False,
    )


def _dead_letter(names: Names, saga: Saga, outbound: Outbound) -> Outgoing:
    direction = Direction(outbound.direction or "action")
    step = outbound.step or ""
    plan = next((known.plan for known in saga.steps if known.name == step), None)
    asked = (
        (plan.compensation if direction is Direction.COMPENSATION else plan.action) if plan else ""
    )
    headers: dict[str, str | int] = {
        "saga-type": saga.saga_type,
        "saga-step": step,
        "saga-direction": str(direction),
        "saga-command-id": command_id_for(saga.saga_id, step, direction),
        "saga-attempt": outbound.attempt or 1,
        "saga-reason": outbound.reason or outbound.destination,
        "saga-error": outbound.error or "",
        "saga-destination": asked or "",
    }
    if saga.epoch:
        headers[EPOCH_HEADER] = saga.epoch  # attempts that are lost are counted again
    if saga.traceparent:
        headers["traceparent"] = saga.traceparent
    return Outgoing(
        exchange=names.dead,
        routing_key=outbound.destination,
        type=asked or outbound.destination,
        body=outbound.body.encode(),
        correlation_id=saga.saga_id,
        headers=headers,
    )
