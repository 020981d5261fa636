"""From a delivery to the command and its handler, and from an answer to what is owed."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self

from chassis import tracing
from chassis.facts import CommandHandled, MessageRejected, Noticed
from messaging.codec import decode_command, encode_reply, rejected
from messaging.contract import Command
from messaging.errors import ProtocolError
from messaging.events import HANDLER_FAILED
from messaging.port import Delivery
from messaging.topology import Names
from participants.execution import Answer
from participants.guard import addressed
from participants.inbox import Key
from participants.outcome import traceback_of
from participants.participant import Participant
from participants.settling import Settlement
from participants.signatures import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A command that has been delivered, and the handler that executes it."""

    delivery: Delivery
    command: Command
    handler: Handler

    @classmethod
    def of(cls, delivery: Delivery, participant: Participant) -> Self:
        """ProtocolError if the participant cannot execute it."""
        command = decode_command(delivery)
        handler = _handler_for(command, participant)
        return cls(delivery=delivery, command=command, handler=handler)

    @property
    def key(self) -> Key:
        return Key(self.command.saga_id, self.command.step_name)

    def span(self) -> AbstractContextManager[object]:
        """The trace in which the command is executed."""
        delivery, command = self.delivery, self.command
        return tracing.processing(
            delivery.queue,
            delivery.exchange,
            delivery.routing_key,
            saga_id=command.saga_id,
            traceparent=command.traceparent,
        )

    def addressed(self, answer: Answer) -> Answer:
        """The answer to this very attempt, within the trace that is active."""
        if answer.reply is None:
            return answer
        reply = addressed(answer.reply, self.command, tracing.current_traceparent())
        return replace(answer, reply=reply)

    def settlement(self, names: Names, answer: Answer, took: timedelta) -> Settlement:
        """What is owed once the command is answered; the answer is addressed already."""
        message = encode_reply(names, answer.reply) if answer.reply else None
        fact = _handled(self.command, answer, took)
        return Settlement(delivery=self.delivery, message=message, fact=fact)


def rejection_of(names: Names, delivery: Delivery, error: ProtocolError) -> Settlement:
    """What is owed for a message that nobody can process."""
    fact = MessageRejected(
        queue=delivery.queue,
        reason=error.reason,
        detail=error.detail,
        message_id=delivery.message_id,
        saga_id=delivery.correlation_id,
        traceback=_traceback_behind(error),
    )
    message = rejected(names, delivery, error.reason, error.detail)
    return Settlement(delivery=delivery, message=message, fact=fact)


def cut_off(what: str, delivery: Delivery) -> Noticed:
    """The program ends, and had no time left for it."""
    return Noticed(
        level="warning",
        message=f"a {what} is cut off, and comes again: its handler took too long to stop",
        details={
            "queue": delivery.queue,
            "routing_key": delivery.routing_key,
            "saga_id": delivery.correlation_id,
        },
    )


def _traceback_behind(error: ProtocolError) -> str | None:
    """Of the handler, if it is not the message that is to blame."""
    cause = error.__cause__ if error.reason == HANDLER_FAILED else None
    return traceback_of(cause) if isinstance(cause, Exception) else None


def _handler_for(command: Command, participant: Participant) -> Handler:
    handler = participant.handlers.get(command.name)
    if handler is None or command.participant != participant.name:
        known = ", ".join(sorted(participant.handlers)) or "none"
        raise ProtocolError(
            "unknown_command",
            f"{participant.name} has no command {command.destination!r}; it has {known}",
        )
    if handler.direction is not command.direction:
        raise ProtocolError(
            "unexpected_direction",
            f"{command.destination!r} is registered as {handler.direction},"
            f" but it was sent as {command.direction}",
        )
    return handler


def _handled(command: Command, answer: Answer, took: timedelta) -> CommandHandled:
    return CommandHandled(
        participant=command.participant,
        command=command.name,
        direction=command.direction.value,
        outcome=answer.outcome,
        saga_id=command.saga_id,
        step=command.step_name,
        attempt=command.attempt,
        took=took,
        error=answer.error,
        traceback=traceback_of(answer.cause) if answer.cause else None,
    )
