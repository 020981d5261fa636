"""One participant at work: its queue's commands, decoded, executed, answered, acknowledged."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from chassis import tracing
from chassis.facts import CommandHandled, MessageRejected, Noticed, Observe
from messaging.codec import decode_command, encode_reply, rejected
from messaging.contract import Command
from messaging.errors import ProtocolError, Unavailable
from messaging.port import Broker, Consumer, Delivery
from messaging.topology import Names
from participants.execution import Answer, Executor
from participants.guard import addressed
from participants.outcome import text_of
from participants.participant import Participant
from participants.settling import Settlement, Settler, pauses
from participants.signatures import Handler

_PAUSE_AFTER_SURPRISE: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all participants of one program share."""

    broker: Broker
    names: Names
    executor: Executor
    observe: Observe
    report_inbox: Callable[[str | None], None]  # a problem, or None when it works again
    concurrency: int
    prefetch: int


class Service:
    """Executes the commands of one participant, at most `concurrency` at a time."""

    def __init__(
        self, participant: Participant, surroundings: Surroundings, consumer: Consumer
    ) -> None:
        self._participant = participant
        self._around = surroundings
        self._consumer = consumer
        self._running = 0
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    @classmethod
    async def open(cls, participant: Participant, surroundings: Surroundings) -> Self:
        """Begin to consume the participant's queue; `run` does the rest."""
        queue = surroundings.names.commands_for(participant.name)
        consumer = await surroundings.broker.consume(queue, prefetch=surroundings.prefetch)
        return cls(participant, surroundings, consumer)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish what has begun."""
        consumer, name = self._consumer, self._participant.name
        settler = Settler(self._around.broker, consumer, self._around.observe)
        self._stopping = stopping
        try:
            async with asyncio.TaskGroup() as group:
                settling = group.create_task(settler.run(), name=f"replies of {name}")
                receiving = group.create_task(
                    self._receive(consumer, settler, group), name=f"commands of {name}"
                )
                await stopping.wait()
                receiving.cancel()
                await self._until(lambda: self._running == 0)
                await settler.drain()
                settling.cancel()
        finally:
            await consumer.close()

    async def _receive(
        self, consumer: Consumer, settler: Settler, group: asyncio.TaskGroup
    ) -> None:
        """Take only what can begin at once; the rest waits with the broker."""
        while True:
            await self._until(lambda: self._running < self._around.concurrency)
            room = self._around.concurrency - self._running
            for delivery in await consumer.receive(room):
                self._running += 1
                group.create_task(self._deal_with(delivery, consumer, settler))

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._changed.clear()
            await self._changed.wait()

    async def _deal_with(self, delivery: Delivery, consumer: Consumer, settler: Settler) -> None:
        """Sorts whatever can happen: settle it, leave it, or give it back."""
        try:
            settlement = await self._settlement_of(delivery)
            if settlement is not None:
                settler.put(settlement)
        except Exception as error:  # a fault of ours: the delivery limit bounds it
            self._around.observe(_surprise(delivery, error))
            await asyncio.sleep(_PAUSE_AFTER_SURPRISE)
            await consumer.release([delivery])
        finally:
            self._running -= 1
            self._changed.set()

    async def _settlement_of(self, delivery: Delivery) -> Settlement | None:
        """What is owed for `delivery`; None if it is left to come again."""
        try:
            command = decode_command(delivery)
            handler = self._handler_for(command)
        except ProtocolError as error:
            return self._rejection(delivery, error)
        with tracing.processing(
            delivery.queue,
            delivery.exchange,
            delivery.routing_key,
            saga_id=command.saga_id,
            traceparent=command.traceparent,
        ):
            return await self._execution(delivery, command, handler)

    async def _execution(
        self, delivery: Delivery, command: Command, handler: Handler
    ) -> Settlement | None:
        began = asyncio.get_running_loop().time()
        answer = await self._answer_to(command, handler)
        if answer is None:
            return None
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
        message = None
        if answer.reply is not None:
            reply = addressed(answer.reply, command, tracing.current_traceparent())
            message = encode_reply(self._around.names, reply)
        fact = _handled(command, answer, took)
        return Settlement(delivery=delivery, message=message, fact=fact)

    async def _answer_to(self, command: Command, handler: Handler) -> Answer | None:
        """Hold the command while the database is away; None if we stop before it is back."""
        for pause in pauses():
            try:
                answer = await self._around.executor.execute(command, handler)
            except Unavailable as error:
                self._around.report_inbox(str(error))
                if await self._stops_within(pause):
                    return None
            else:
                self._around.report_inbox(None)
                return answer
        raise AssertionError("pauses never end")

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _handler_for(self, command: Command) -> Handler:
        handler = self._participant.handlers.get(command.name)
        if handler is None or command.participant != self._participant.name:
            known = ", ".join(sorted(self._participant.handlers)) or "none"
            raise ProtocolError(
                "unknown_command",
                f"{self._participant.name} has no command {command.destination!r}; it has {known}",
            )
        if handler.direction is not command.direction:
            raise ProtocolError(
                "unexpected_direction",
                f"{command.destination!r} is registered as {handler.direction},"
                f" but it was sent as {command.direction}",
            )
        return handler

    def _rejection(self, delivery: Delivery, error: ProtocolError) -> Settlement:
        fact = MessageRejected(
            queue=delivery.queue,
            reason=error.reason,
            detail=error.detail,
            message_id=delivery.message_id,
        )
        message = rejected(self._around.names, delivery, error.reason, error.detail)
        return Settlement(delivery=delivery, message=message, fact=fact)


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
    )


def _surprise(delivery: Delivery, error: Exception) -> Noticed:
    return Noticed(
        level="error",
        message="a command could not be dealt with and is given back",
        details={
            "queue": delivery.queue,
            "routing_key": delivery.routing_key,
            "saga_id": delivery.correlation_id,
            "error": text_of(error),
        },
    )
