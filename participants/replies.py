"""Answers given later, from any process: approvals, webhooks, work that takes hours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, Self, assert_never

from chassis.tracing import current_traceparent
from messaging.codec import encode_reply
from messaging.contract import Command, Direction, Reply, command_id_for
from messaging.errors import NotFound, Refused, Unavailable
from messaging.port import Broker, Outgoing, Receipt
from messaging.topology import Names
from participants.guard import Entry, State, entry_after, final_reply_to, since
from participants.inbox import Inbox
from participants.lone_broker import lone_broker
from participants.outcome import (
    AlreadyUndone,
    Broken,
    Completed,
    Failed,
    Later,
    Unsendable,
    outcome_of,
)
from participants.settling import pauses

_CONFIRM_TIMEOUT: Final = 30.0


class Replies:
    """Answers steps whose handlers returned `context.later()`.

    Uses the inbox of the participant that executed the step: it knows whether the step still
    awaits its answer, and keeps the answer for repeated commands.
    """

    def __init__(self, broker: Broker, inbox: Inbox, names: Names) -> None:
        self._broker = broker
        self._inbox = inbox
        self._names = names

    @classmethod
    @asynccontextmanager
    async def open(
        cls, amqp_url: str, *, inbox_url: str, namespace: str = "saga"
    ) -> AsyncIterator[Self]:
        """Replies from a process that runs no participants, such as a web service."""
        from participants.sql_inbox import SqlInbox  # noqa: PLC0415  # participants load no SQL

        names = Names(namespace)
        inbox = SqlInbox(inbox_url)
        try:
            async with lone_broker(amqp_url, names) as broker:
                yield cls(broker, inbox, names)
        finally:
            await inbox.close()

    async def reply(self, saga_id: str, step_name: str, answer: object = None) -> None:
        """Answer a step with what its handler could have returned, or with a StepFailed.

        Returns when the answer is stored and the broker has it; the same answer again is sent
        again and changes nothing. Raises NotFound if no such step was executed here, Refused
        if it was answered otherwise or compensated meanwhile, and Unavailable if broker or
        database are out of reach: then answer again, later.
        """
        async with self._inbox.claim(saga_id, step_name) as claim:
            reply, entry = late_answer(saga_id, step_name, claim.entry, answer)
            if entry is not None:
                await claim.save(entry)
        traced = replace(reply, traceparent=current_traceparent())
        await self._publish(encode_reply(self._names, traced))

    async def _publish(self, message: Outgoing) -> None:
        try:
            async with asyncio.timeout(_CONFIRM_TIMEOUT):
                for pause in pauses():
                    [receipt] = await self._broker.publish([message])
                    if receipt is Receipt.CONFIRMED:
                        return
                    await asyncio.sleep(pause)
        except TimeoutError as error:
            raise Unavailable(
                f"the answer is stored, but the broker has not taken it in {_CONFIRM_TIMEOUT:g} s;"
                " give the same answer again"
            ) from error


def late_answer(
    saga_id: str, step_name: str, entry: Entry | None, answer: object
) -> tuple[Reply, Entry | None]:
    """The reply, and what the inbox is to keep; None if it keeps that already. Pure."""
    if entry is None:
        raise NotFound(f"step {step_name!r} of saga {saga_id!r} has not been executed here")
    direction = _direction_of(entry)
    command = since(entry, _command(saga_id, step_name, direction))
    outcome = _definite_outcome(answer, direction)
    reply = final_reply_to(command, outcome)
    addressed = replace(reply, command_id=command.command_id)
    if entry.state in {State.LATER, State.COMPENSATING}:
        return addressed, _entry_after(direction, entry, outcome, reply)
    if reply in (entry.action_reply, entry.compensation_reply):
        return addressed, None
    raise Refused(
        f"step {step_name!r} of saga {saga_id!r} awaits no answer: it is {entry.state.value}"
    )


def _direction_of(entry: Entry) -> Direction:
    if entry.state in {State.COMPENSATING, State.COMPENSATED, State.TOMBSTONE}:
        return Direction.COMPENSATION
    return Direction.ACTION


def _definite_outcome(answer: object, direction: Direction) -> Completed | AlreadyUndone | Failed:
    outcome = outcome_of(answer, direction)
    match outcome:
        case Completed() | AlreadyUndone() | Failed():
            return outcome
        case Unsendable():
            raise Refused(outcome.error)
        case Broken() | Later():
            raise Refused(f"{answer!r} is no answer; give a result or a StepFailed")
        case _:
            assert_never(outcome)


def _entry_after(
    direction: Direction,
    before: Entry,
    outcome: Completed | AlreadyUndone | Failed,
    reply: Reply,
) -> Entry:
    """As after a handler, but what the handler did before it asked for time is not undone."""
    if isinstance(outcome, Failed) and direction is Direction.COMPENSATION:
        return replace(before, state=State.DONE if before.action_reply else State.UNKNOWN)
    entry = entry_after(direction, before, outcome, reply)
    return entry if entry is not None else Entry(state=State.UNKNOWN)


def _command(saga_id: str, step_name: str, direction: Direction) -> Command:
    """The command that is answered, as far as a reply shows it."""
    return Command(
        saga_id=saga_id,
        saga_type="",
        step_name=step_name,
        direction=direction,
        destination="",
        command_id=command_id_for(saga_id, step_name, direction),
        attempt=1,
        data={},
    )
