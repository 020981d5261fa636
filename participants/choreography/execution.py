"""One event, reacted to once: the rules around the handler, in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from chassis import tracing
from chassis.failpoints import Failpoint, reach
from messaging.contract import MAX_ERROR_BYTES
from messaging.errors import DefinitionError, NotFound, ProtocolError, Unavailable
from messaging.events import HANDLER_FAILED, Event, encode_event, event_id_for, following
from messaging.limits import check_result
from messaging.port import Outgoing
from messaging.texts import within
from messaging.topology import Names
from participants.choreography.definition import Choreography
from participants.choreography.log import EventClaim, EventLog, Line
from participants.choreography.reactions import Emit, EventContext, Reaction, Told, told_by
from participants.choreography.rules import (
    React,
    Refuse,
    Repeat,
    entry_after,
    entry_of_failure,
    entry_of_refusal,
    verdict_on,
)
from participants.execution import PAUSES, TRIES, Pauses
from participants.outcome import StepFailed, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of an event, and what has to be published because of it."""

    outcome: str  # handled, repeated, refused, failed, ignored
    messages: tuple[Outgoing, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event that has been delivered to a service, and its bytes."""

    event: Event
    payload: bytes
    reaction: Reaction


class EventExecutor:
    """Calls the handlers of one service behind the guard of its log."""

    def __init__(
        self,
        choreography: Choreography,
        log: EventLog,
        names: Names,
        *,
        tries: int = TRIES,
        pauses: Pauses = PAUSES,
    ) -> None:
        self._choreography = choreography
        self._log = log
        self._names = names
        self._tries = tries
        self._pauses = pauses

    async def react(self, heard: Heard) -> Done:
        """What became of it. Effects, line and emitted events are stored when this returns.

        Raises Unavailable when the database is away, and ProtocolError for what nobody can
        process or what the handler failed at, again and again: it is for the dead letters.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._tries),
            wait=self._pauses,
            retry=retry_if_exception(_is_worth_a_try),
            reraise=True,
        )
        try:
            return await retrying(self._try_once, heard)
        except StepFailed as error:
            return await self._say_no(heard, error)
        except (Unavailable, ProtocolError):
            raise
        except Exception as error:
            raise ProtocolError(HANDLER_FAILED, text_of(error)) from error

    async def _try_once(self, heard: Heard) -> Done:
        event, service = heard.event, self._choreography.name
        async with self._log.claim(service, event.saga_id) as claim:
            verdict = verdict_on(event, heard.reaction, claim.entries)
            if not isinstance(verdict, React):
                if isinstance(verdict, Refuse):
                    entry = entry_of_refusal(event)
                    await claim.save(Line(entry=entry, event=event, payload=heard.payload))
                return _without_handler(verdict)
            line = await self._reacted(heard, verdict, claim)
            await claim.save(line)
            await reach(Failpoint.GUARD_BEFORE_COMMIT)
        await reach(Failpoint.GUARD_AFTER_COMMIT)
        return Done(outcome="handled", messages=line.entry.emitted)

    async def _reacted(self, heard: Heard, verdict: React, claim: EventClaim) -> Line:
        event, reaction = heard.event, heard.reaction
        context = EventContext(
            event=event,
            service=self._choreography.name,
            original_results=tuple(each.result or {} for each in verdict.standing),
            open_session=claim.session,
        )
        told = await _told(reaction, context)
        emitted = self._emitted(event, told.emits)
        return Line(
            entry=entry_after(event, reaction, verdict, told.result, emitted),
            event=event,
            payload=heard.payload,
            undone=tuple(each.event_id for each in verdict.standing),
        )

    async def _say_no(self, heard: Heard, failure: StepFailed) -> Done:
        """Everything is undone; only the event that says no is stored."""
        event, fails = heard.event, heard.reaction.fails
        if fails is None:
            detail = f"{failure.error}; no fails= says which event tells the others"
            raise ProtocolError(HANDLER_FAILED, within(detail, MAX_ERROR_BYTES))
        error = within(failure.error, MAX_ERROR_BYTES)
        emitted = self._emitted(event, [Emit(fails, {"error": error})])
        async with self._log.claim(self._choreography.name, event.saga_id) as claim:
            verdict = verdict_on(event, heard.reaction, claim.entries)
            if not isinstance(verdict, React):  # somebody was faster
                return _without_handler(verdict)
            entry = entry_of_failure(event, emitted)
            await claim.save(Line(entry=entry, event=event, payload=heard.payload))
            await reach(Failpoint.GUARD_BEFORE_COMMIT)
        await reach(Failpoint.GUARD_AFTER_COMMIT)
        return Done(outcome="failed", messages=tuple(emitted), error=error)

    def _emitted(self, event: Event, emits: Sequence[Emit]) -> list[Outgoing]:
        """The events as they are published, under ids that follow from what caused them."""
        saga = following(event)
        saga = replace(saga, traceparent=tracing.current_traceparent() or saga.traceparent)
        counted = Counter[str]()
        messages = []
        for emit in emits:
            told = Event(
                type=emit.type,
                event_id=event_id_for(
                    event.event_id, self._choreography.name, emit.type, counted[emit.type]
                ),
                saga=saga,
                service=self._choreography.name,
                data=emit.content,
                ends=self._choreography.endings.get(emit.type),
            )
            counted[emit.type] += 1
            messages.append(encode_event(self._names, told))
        return messages


def _without_handler(verdict: Repeat | Refuse) -> Done:
    match verdict:
        case Repeat(entry):
            return Done(outcome="repeated", messages=entry.emitted)
        case Refuse():
            return Done(outcome="refused")
        case _:
            assert_never(verdict)


async def _told(reaction: Reaction, context: EventContext) -> Told:
    """What the handler has answered; that there was nothing to undo is an answer, too."""
    try:
        answer = await reaction.call(context)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise DefinitionError("the handler was cancelled from within") from None
    except NotFound:
        if reaction.undoes is None:
            raise
        return Told()
    told = told_by(answer)
    check_result(told.result)
    return told


def _is_worth_a_try(error: BaseException) -> bool:
    """Never what would be the same again, and never a database that is away."""
    if isinstance(error, StepFailed):
        return bool(error.retryable)
    final = ProtocolError | DefinitionError | Unavailable
    return isinstance(error, Exception) and not isinstance(error, final)
