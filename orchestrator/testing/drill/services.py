"""The services of a drilled run: the author's own, watched; stand-ins; and those without guard."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from messaging.codec import encode_reply
from messaging.contract import Command, participant_of
from messaging.port import Broker, Delivery, Outgoing
from orchestrator.saga.plan import PlannedStep
from orchestrator.testing.programs import NAMES
from participants.assignment import Assignment
from participants.context import Context
from participants.execution import returned_by
from participants.guard import addressed, definite, final_reply_to
from participants.outcome import AlreadyUndone, Completed, Later, outcome_of
from participants.participant import Participant
from participants.signatures import Handler

Watch = Callable[[Context, Callable[[], Awaitable[object]]], Awaitable[object]]
Committed = Callable[[Command], Awaitable[None]]

_ROOM: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedHandler(Handler):
    """A handler with somebody at its side, who may refuse or break it."""

    watch: Watch

    async def call(self, context: Context) -> object:
        return await self.watch(context, partial(Handler.call, self, context))


def watched(participant: Participant, watch: Watch) -> Participant:
    """The same service, with each of its handlers watched."""

    def with_watch(handler: Handler) -> Handler:
        known = {field.name: getattr(handler, field.name) for field in fields(handler)}
        return WatchedHandler(**known, watch=watch)

    return participant.with_handlers(with_watch)


def stand_ins(plan: Sequence[PlannedStep], given: Sequence[Participant]) -> Sequence[Participant]:
    """A service that completes everything, for each that the plan names and nobody has given."""
    missing: dict[str, Participant] = {}
    for step in plan:
        for command, is_action in ((step.action, True), (step.compensation, False)):
            name = participant_of(command) if command else ""
            if command is None or name in {each.name for each in given}:
                continue
            participant = missing.setdefault(name, Participant(name))
            local = command.partition(".")[2]
            if local not in participant.handlers:
                register = participant.action if is_action else participant.compensation
                register(local)(_nothing)
    return list(missing.values())


class Unguarded:
    """Runs the handlers of a service without the guard: each command is carried out as it comes."""

    def __init__(
        self, participant: Participant, broker: Broker, engine: AsyncEngine, committed: Committed
    ) -> None:
        self._participant = participant
        self._broker = broker
        self._engine = engine
        self._committed = committed

    async def run(self, began: asyncio.Event) -> None:
        """Work until cancelled."""
        queue = NAMES.commands_for(self._participant.name)
        consumer = await self._broker.consume(queue, prefetch=_ROOM)
        began.set()
        while True:
            for delivery in await consumer.receive(_ROOM):
                reply = await self._reply_to(delivery)
                if reply is not None:
                    await self._broker.publish([reply])
                await consumer.ack([delivery])

    async def _reply_to(self, delivery: Delivery) -> Outgoing | None:
        assignment = Assignment.of(delivery, self._participant)
        command = assignment.command
        async with AsyncSession(self._engine, expire_on_commit=False) as session:
            context = Context(command=command, open_session=lambda: session)
            returned = await returned_by(assignment.handler, context)
            outcome = outcome_of(returned, command.direction)
            if isinstance(outcome, Completed | Later):
                await session.commit()
        await self._committed(command)
        if isinstance(outcome, Later):
            return None
        if not isinstance(outcome, Completed | AlreadyUndone):
            outcome = definite(outcome, command.direction, is_contained=True)
        return encode_reply(NAMES, addressed(final_reply_to(command, outcome), command, None))


async def _nothing(command: dict[str, Any], context: Context) -> None:
    """What a stand-in does."""
