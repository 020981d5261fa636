"""Many commands, executed once each and together: the guard's rules in one transaction."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from chassis.failpoints import Failpoint, reach
from messaging.contract import Command, Direction
from messaging.errors import Conflict, Unavailable
from participants.assignment import Assignment
from participants.context import Context
from participants.execution import Answer, answer_without_handler, returned_by, store_success
from participants.guard import (
    Entry,
    Execute,
    State,
    dated,
    definite,
    entry_after,
    final_reply_to,
    since,
    verdict_on,
)
from participants.inbox import Inbox, Key, SharedClaim
from participants.outcome import Broken, Failed, Outcome, Unsendable, outcome_of

Claiming = AbstractAsyncContextManager[Mapping[Key, SharedClaim]]

# Postgres keeps 64 savepoints at hand for each transaction; one with more slows down all others.
_PART: Final = 64


class BatchExecutor:
    """Executes batches behind the guard of `inbox`."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox: Final = inbox

    async def execute(self, batch: Sequence[Assignment]) -> Sequence[Answer | None]:
        """An answer each, addressed and stored; None for a command that has to be executed by
        itself, because its handler met with something that nobody foresaw.

        Raises Unavailable when the database is away: execute the batch again, later. After
        any other error nothing is stored, and each command has to be executed by itself.
        """
        try:
            return await self._attempt(batch, self._claim_whole(batch))
        except Conflict:  # rare; to be ready for it each time would cost more than the batch
            parts = [batch[start : start + _PART] for start in range(0, len(batch), _PART)]
            return [answer for part in parts for answer in await self._answers_to_part(part)]

    async def _answers_to_part(self, part: Sequence[Assignment]) -> Sequence[Answer | None]:
        try:
            claiming = self._inbox.claim_all(_keys(part), is_divisible=True)
            return await self._attempt(part, claiming)
        except Unavailable:
            raise
        except Exception:  # other parts may be stored already
            return [None] * len(part)

    def _claim_whole(self, batch: Sequence[Assignment]) -> Claiming:
        """Without a look for what is most likely not there."""
        if all(map(_is_first, batch)):
            return self._inbox.claim_new(_keys(batch))
        return self._inbox.claim_all(_keys(batch), is_divisible=False)

    async def _attempt(
        self, batch: Sequence[Assignment], claiming: Claiming
    ) -> Sequence[Answer | None]:
        async with claiming as claims:
            answers = await self._answers_to(batch, claims)
            await reach(Failpoint.GUARD_BEFORE_BATCH_COMMIT)
        await reach(Failpoint.GUARD_AFTER_BATCH_COMMIT)
        return answers

    async def _answers_to(
        self, batch: Sequence[Assignment], claims: Mapping[Key, SharedClaim]
    ) -> Sequence[Answer | None]:
        """In the order of their arrival, also those of one step."""
        aside: set[Key] = set()
        answers: list[Answer | None] = []
        for each in batch:
            is_aside = each.key in aside
            answer = None if is_aside else await self._answer_to(each, claims[each.key])
            if answer is None:
                aside.add(each.key)
            answers.append(answer)
        return answers

    async def _answer_to(self, assignment: Assignment, claim: SharedClaim) -> Answer | None:
        with assignment.span():
            answer = await self._answer_behind_guard(assignment, claim)
            return answer and assignment.addressed(answer)

    async def _answer_behind_guard(
        self, assignment: Assignment, claim: SharedClaim
    ) -> Answer | None:
        command = assignment.command
        verdict = verdict_on(command.direction, claim.entry, attempt=command.attempt)
        command = since(claim.entry, command)
        if not isinstance(verdict, Execute):
            return await answer_without_handler(command, claim, verdict)
        if not self._inbox.contains_effects and claim.entry is None:
            begun = Entry(state=State.UNKNOWN)  # a compensation has to look
            await claim.save(dated(begun, command))
        context = Context(command=command, open_session=claim.session)
        returned = await returned_by(assignment.handler, context)
        return await self._stored(command, claim, outcome_of(returned, command.direction))

    async def _stored(
        self, command: Command, claim: SharedClaim, outcome: Outcome
    ) -> Answer | None:
        """The answer, with its effects or without; None if there is none yet."""
        match outcome:
            case Broken():
                await claim.undo()
                return None
            case Failed() | Unsendable():
                await claim.undo()
                return await self._store_failure(command, claim, outcome)
            case _:
                try:
                    await claim.keep()
                except Exception:  # what the handler has left to do is refused
                    await claim.undo()
                    return None
                return await store_success(command, claim, outcome)

    async def _store_failure(
        self, command: Command, claim: SharedClaim, failure: Failed | Unsendable
    ) -> Answer:
        is_contained = self._inbox.contains_effects
        failed = definite(failure, command.direction, is_contained=is_contained)
        reply = final_reply_to(command, failed)
        after = entry_after(
            command.direction,
            claim.entry,
            failed,
            reply,
            attempt=command.attempt,
            is_contained=is_contained,
        )
        if after is not None:
            await claim.save(dated(after, command))
        return Answer(outcome="failed", reply=reply)


def _keys(batch: Sequence[Assignment]) -> set[Key]:
    return {each.key for each in batch}


def _is_first(assignment: Assignment) -> bool:
    """Most likely nobody has done anything about its step before."""
    command = assignment.command
    is_first_attempt = command.direction is Direction.ACTION and command.attempt == 1
    return is_first_attempt and not assignment.delivery.redelivered
