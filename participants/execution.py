"""One command, executed once: the guard's rules around the handler, in one transaction."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, assert_never

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from chassis.failpoints import Failpoint, reach
from messaging.contract import Command, Direction, Reply
from messaging.errors import SagaError, Unavailable
from participants.context import Context
from participants.guard import (
    TOO_LATE,
    Bury,
    Entry,
    Execute,
    Failure,
    Refuse,
    Repeat,
    State,
    Success,
    Verdict,
    Wait,
    buried,
    dated,
    definite,
    entry_after,
    final_reply_to,
    in_doubt,
    reply_to,
    since,
    verdict_on,
)
from participants.inbox import Claim, Inbox
from participants.outcome import (
    AlreadyUndone,
    Broken,
    Completed,
    Failed,
    Later,
    outcome_of,
    text_of,
)
from participants.signatures import Handler

Pauses = Callable[..., float]

TRIES: Final = 3
PAUSES: Final = wait_random_exponential(multiplier=0.2, max=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a command. `reply` None: nothing is said now."""

    outcome: str  # completed, failed, replayed, refused, later
    reply: Reply | None = None
    cause: Exception | None = None  # what nobody foresaw

    @property
    def error(self) -> str | None:
        return self.reply.error if self.reply else None


class Executor:
    """Executes commands behind the guard of `inbox`."""

    def __init__(self, inbox: Inbox, *, tries: int = TRIES, pauses: Pauses = PAUSES) -> None:
        self._inbox = inbox
        self._tries = tries
        self._pauses = pauses

    async def execute(self, command: Command, handler: Handler) -> Answer:
        """The answer to `command`. Its effects and its reply are stored when this returns.

        Raises Unavailable when the database is away: execute it again, later.
        """
        is_contained = self._inbox.contains_effects and not handler.is_external
        is_certain = True  # that no earlier try may have left an effect
        if command.direction is Direction.ACTION and not is_contained:
            is_certain = await self._note_beginning(command)
        try:
            answer = await self._try_once(command, handler)
        except Unavailable:
            raise
        except Exception as error:
            answer = await self._try_again(command, handler, error)
            is_certain = is_contained
        if isinstance(answer, Answer):
            return answer
        return await self._answer_failure(command, answer, is_contained, is_certain)

    async def _note_beginning(self, command: Command) -> bool:
        """Before an effect that no transaction contains: from now on a compensation looks.
        False if somebody has begun before."""
        async with self._inbox.claim(command.saga_id, command.step_name) as claim:
            is_first = claim.entry is None
            if is_first:
                await claim.save(dated(Entry(state=State.UNKNOWN), command))
        await reach(Failpoint.GUARD_AFTER_NOTE)
        return is_first

    async def _try_again(
        self, command: Command, handler: Handler, error: Exception
    ) -> Answer | Failure:
        """After the first try, which nearly always suffices: what counts them is not cheap."""
        first = [error]

        async def next_try() -> Answer | Failure:
            if first:
                raise first.pop()
            return await self._try_once(command, handler)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._tries),
            wait=self._pauses,
            retry=retry_if_exception(_is_worth_a_try),
            reraise=True,
        )
        try:
            return await retrying(next_try)
        except Unavailable:
            raise
        except Exception as last:
            return Broken(error=text_of(last), cause=last)

    async def _try_once(self, command: Command, handler: Handler) -> Answer | Failure:
        """The answer, stored; or a failure, with nothing stored and everything undone."""
        async with self._inbox.claim(command.saga_id, command.step_name) as claim:
            outcome = await _outcome_behind_guard(command, handler, claim)
            await reach(Failpoint.GUARD_BEFORE_COMMIT)
        await reach(Failpoint.GUARD_AFTER_COMMIT)
        return outcome

    async def _answer_failure(
        self, command: Command, failure: Failure, is_contained: bool, is_certain: bool
    ) -> Answer:
        """Store what must be remembered of a failure, unless somebody was faster."""
        failed = definite(failure, command.direction, is_contained=is_contained)
        reply = final_reply_to(command, failed if is_certain else in_doubt(failed))
        after = entry_after(
            command.direction,
            None,
            failed,
            reply,
            attempt=command.attempt,
            is_contained=is_contained,
        )
        cause = failure.cause if isinstance(failure, Broken) else None
        answer = Answer(outcome="failed", reply=reply, cause=cause)
        if after is None or (cause is not None and is_contained):
            return answer
        async with self._inbox.claim(command.saga_id, command.step_name) as claim:
            verdict = verdict_on(command.direction, claim.entry, attempt=command.attempt)
            known = since(claim.entry, command)
            if not isinstance(verdict, Execute):
                return await answer_without_handler(known, claim, verdict)
            await claim.save(dated(after, known))
            await reach(Failpoint.GUARD_BEFORE_COMMIT)
        await reach(Failpoint.GUARD_AFTER_COMMIT)
        return replace(answer, reply=replace(reply, epoch=known.epoch))


def _is_worth_a_try(error: BaseException) -> bool:
    """Never a cancellation, and never a database that is away: the runner waits for that."""
    return isinstance(error, Exception) and not isinstance(error, Unavailable)


async def _outcome_behind_guard(
    command: Command, handler: Handler, claim: Claim
) -> Answer | Failure:
    verdict = verdict_on(command.direction, claim.entry, attempt=command.attempt)
    command = since(claim.entry, command)
    if not isinstance(verdict, Execute):
        return await answer_without_handler(command, claim, verdict)
    outcome = await _call(command, handler, claim)
    if isinstance(outcome, Completed | AlreadyUndone | Later):
        return await store_success(command, claim, outcome)
    return outcome


async def _call(command: Command, handler: Handler, claim: Claim) -> Success | Failure:
    """The handler's outcome; what nobody foresaw is raised, through the claim."""
    context = Context(command=command, open_session=claim.session)
    outcome = outcome_of(await returned_by(handler, context), command.direction)
    if isinstance(outcome, Broken):
        raise outcome.cause
    return outcome


async def returned_by(handler: Handler, context: Context) -> object:
    """What the handler has returned, or raised."""
    try:
        return await handler.call(context)
    except asyncio.CancelledError:
        if _is_being_cancelled():
            raise
        return SagaError("the handler was cancelled from within")
    except Exception as error:
        return error


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def store_success(command: Command, claim: Claim, outcome: Success) -> Answer:
    reply = reply_to(command, outcome)
    entry = entry_after(command.direction, claim.entry, outcome, reply)
    if entry is not None:
        await claim.save(dated(entry, command))
    return Answer(outcome="later" if reply is None else "completed", reply=reply)


async def answer_without_handler(command: Command, claim: Claim, verdict: Verdict) -> Answer:
    match verdict:
        case Repeat(reply):
            return Answer(outcome="replayed", reply=reply)
        case Bury():
            undone = final_reply_to(command, AlreadyUndone())
            await claim.save(buried(claim.entry, undone))
            return Answer(outcome="completed", reply=undone)
        case Refuse():
            refusal = Failed(error=TOO_LATE, retryable=False)
            return Answer(outcome="refused", reply=final_reply_to(command, refusal))
        case Wait():
            return Answer(outcome="later")
        case Execute():
            raise TypeError("the handler has not been asked")
        case _:
            assert_never(verdict)
