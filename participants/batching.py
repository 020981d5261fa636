"""Commands that allow it are handled together: whatever has gathered during the last batch."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from chassis.facts import BatchCommitted, Noticed, Observe
from messaging.topology import Names
from participants.assignment import Assignment
from participants.execution import Answer
from participants.holding import Holding
from participants.outcome import text_of
from participants.settling import Settlement
from participants.together import BatchExecutor

LARGEST: Final = 250  # commands; more gain nothing, and hold their locks for longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Exits:
    """Where commands go from a batch."""

    settle: Callable[[Settlement], None]  # those that are answered
    alone: Callable[[Assignment], None]  # those that have to be handled by themselves


class Batching:
    """Handles one batch after the other, without waiting for more to come."""

    def __init__(
        self,
        executor: BatchExecutor,
        holding: Holding,
        names: Names,
        observe: Observe,
        exits: Exits,
    ) -> None:
        self._executor = executor
        self._holding = holding
        self._names = names
        self._observe = observe
        self._exits = exits
        self._gathered: deque[Assignment] = deque()
        self._changed = asyncio.Event()
        self._is_stopping = False

    def put(self, assignment: Assignment) -> None:
        """After a lost connection all that waits here comes again: it would only pile up."""
        if self._gathered and self._gathered[-1].delivery.session != assignment.delivery.session:
            self._gathered.clear()
        self._gathered.append(assignment)
        self._changed.set()

    async def run(self) -> None:
        """Work until `stop`. What has not begun then is left: it comes again."""
        while not self._is_stopping:
            self._changed.clear()
            if self._gathered:
                count = min(len(self._gathered), LARGEST)
                await self._deal_with([self._gathered.popleft() for _ in range(count)])
            else:
                await self._changed.wait()

    def stop(self) -> None:
        """No further batch; `run` ends with the one at hand."""
        self._is_stopping = True
        self._changed.set()

    async def _deal_with(self, batch: Sequence[Assignment]) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        try:
            execute = partial(self._executor.execute, batch)
            answers = await self._holding.until_available(execute)
        except Exception as error:  # whoever is to blame will be found among them
            self._observe(_undone(batch, error))
            answers = [None] * len(batch)
        if answers is None:
            return
        took = timedelta(seconds=now() - began)
        self._observe(BatchCommitted(size=len(batch)))
        for each, answer in zip(batch, answers, strict=True):
            self._exit(each, answer, took)

    def _exit(self, assignment: Assignment, answer: Answer | None, took: timedelta) -> None:
        if answer is None:
            self._exits.alone(assignment)
            return
        try:
            settlement = assignment.settlement(self._names, answer, took)
        except Exception:  # where one is handled alone, it is known what to do about it
            self._exits.alone(assignment)
        else:
            self._exits.settle(settlement)


def _undone(batch: Sequence[Assignment], error: Exception) -> Noticed:
    return Noticed(
        level="info",
        message="a batch was undone; its commands are handled one by one",
        details={
            "queue": batch[0].delivery.queue,
            "size": len(batch),
            "error": text_of(error),
        },
    )
