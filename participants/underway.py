"""Work that is under way in tasks of its own, and whether there is room for more."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Underway:
    """At most so many at a time, if whoever begins some asks for `room` before."""

    def __init__(self, tasks: asyncio.TaskGroup, *, most: int) -> None:
        self._tasks = tasks
        self._most = most
        self._running = 0
        self._changed = asyncio.Event()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._running += 1
        self._tasks.create_task(work).add_done_callback(self._note_end)

    async def room(self) -> int:
        """For how many more there is room; waits until that is at least one."""
        await self._until(lambda: self._running < self._most)
        return self._most - self._running

    async def ended(self) -> None:
        """Wait until nothing is under way."""
        await self._until(lambda: self._running == 0)

    def _note_end(self, _: asyncio.Task[None]) -> None:
        self._running -= 1
        self._changed.set()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._changed.clear()
            await self._changed.wait()
