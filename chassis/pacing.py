"""The rhythm of the worker's loops: at once while there is work, else after a pause."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from tenacity import RetryCallState, wait_random_exponential

from chassis.facts import ConnectionChanged, Observe
from messaging.errors import Conflict, Unavailable

_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=10)


class Reachability:
    """Whether the database can be reached, by the last that was heard of it."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self.problem: str | None = None
        self._was_up: bool | None = None

    def found(self) -> None:
        self._report(True, "")

    def lost(self, error: Unavailable) -> None:
        self._report(False, str(error))

    def _report(self, up: bool, detail: str) -> None:
        self.problem = None if up else detail
        if up is not self._was_up:
            self._was_up = up
            self._observe(ConnectionChanged(peer="database", up=up, detail=detail))


class Pace:
    """Repeats work until it is asked to stop, and backs off while the database is away."""

    def __init__(self, stopping: asyncio.Event, database: Reachability) -> None:
        self.stopping = stopping
        self.database = database

    async def repeat(
        self,
        work: Callable[[], Awaitable[bool]],
        *,
        interval: timedelta,
        wake: asyncio.Event | None = None,
    ) -> None:
        """Call `work` at once again when it answers True, else after `interval` or a wake-up."""
        failures = 0
        while not self.stopping.is_set():
            try:
                is_busy = await work()
            except Unavailable as error:
                self.database.lost(error)
                failures += 1
                await self.rest(backoff(failures))
                continue
            self.database.found()
            failures = 0
            if not is_busy:
                await self.rest(interval.total_seconds(), wake)

    async def until_done(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Call `work` until the database lets it through; False if we are to stop before."""
        failures = 0
        while not self.stopping.is_set():
            try:
                await work()
            except (Unavailable, Conflict) as error:
                if isinstance(error, Unavailable):
                    self.database.lost(error)
                failures += 1
                await self.rest(backoff(failures))
                continue
            self.database.found()
            return True
        return False

    async def rest(self, seconds: float, wake: asyncio.Event | None = None) -> None:
        """Wait so long, or until we are to stop, or until `wake` is set, which is cleared."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self.stopping, wake) if event]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if wake is not None:
            wake.clear()


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: jittered, at most ten."""
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # it is only counted
    state.attempt_number = failures
    return max(0.05, float(_BACKOFF(state)))
