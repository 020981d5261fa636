"""Waiting for embedded sagas: until something is so, putting the clock forward meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chassis.facts import MessageRejected
from orchestrator.store.queries import show_saga
from orchestrator.testing.failures import HIDDEN, ScenarioFailed, history_table, since
from orchestrator.testing.programs import NAMES, Programs
from orchestrator.testing.scripted import Stage

__tracebackhide__ = HIDDEN

_LOOK: Final = 0.003  # seconds between two looks whether anything is still in hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How one kit waits. Every wait raises ScenarioFailed, with the saga's story, when a
    program or a script has a problem, or after `patience` real seconds."""

    programs: Programs
    stage: Stage
    is_virtual: bool
    patience: float

    async def until(self, is_so: Callable[[], Awaitable[bool]], *, saga_id: str | None) -> None:
        """Wait, and let all timers be."""
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + self.patience
        while not await is_so():
            await self._raise_problems(saga_id)
            if loop.time() > patient_until:
                late = f"nothing came of it within {self.patience:g} s"
                raise ScenarioFailed(f"{late}{await self._story(saga_id)}")
            await asyncio.sleep(_LOOK)
        await self._raise_problems(saga_id)

    async def until_at_rest(self, has_ended: Callable[[], Awaitable[bool]], saga_id: str) -> None:
        """Wait until it has ended, or nothing but a person can move anything."""

        async def is_at_rest() -> bool:
            if await has_ended():
                return True
            idle = await self.programs.idleness()
            if idle is not None and idle.until is not None and self.is_virtual:
                await self._put_forward(idle.until)
            return idle is not None and idle.until is None

        await self.until(is_at_rest, saga_id=saga_id)

    async def until_time(self, moment: datetime) -> None:
        """Put the clock forward to this moment, with a stop at each timer before it."""

        async def is_reached() -> bool:
            idle = await self.programs.idleness()
            if idle is None:
                return False
            is_there = self.programs.time.now() >= moment
            if not is_there:
                await self._put_forward(min(moment, idle.until or moment))
            return is_there

        await self.until(is_reached, saga_id=None)

    async def until_idle(self) -> None:
        """Wait until nothing is in hand."""

        async def is_idle() -> bool:
            return await self.programs.idleness() is not None

        await self.until(is_idle, saga_id=None)

    async def _put_forward(self, moment: datetime) -> None:
        self.programs.time.put_forward(moment)
        await self.programs.wake()

    async def _raise_problems(self, saga_id: str | None) -> None:
        self.programs.raise_failures()
        problems = [*self.stage.problems, *self.refused_commands()]
        if problems:
            raise ScenarioFailed(f"{'; '.join(problems)}{await self._story(saga_id)}")

    def refused_commands(self) -> list[str]:
        """What a hosted participant has no handler for, or could not read."""
        return [
            f"{fact.queue} took a command that it cannot execute: {fact.detail}"
            for fact in self.programs.facts
            if isinstance(fact, MessageRejected) and fact.queue.startswith(f"{NAMES.commands}.")
        ]

    async def _story(self, saga_id: str | None) -> str:
        view = await show_saga(self.programs.store, saga_id) if saga_id else None
        if view is None:
            return ""
        age = since(view.created_at, self.programs.time.now())
        title = f"{view.saga_type} {view.saga_id} is {view.state} at {age}"
        return f"\n\n{title}\n\n{history_table(view.history, view.created_at)}"
