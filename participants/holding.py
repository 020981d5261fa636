"""Commands are held while the database is away: nothing is answered, and nothing given back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from messaging.errors import Unavailable
from participants.settling import pauses

T = TypeVar("T")


class Holding:
    """Waits for the database with growing pauses, until `stopping` is set."""

    def __init__(self, report_inbox: Callable[[str | None], None], stopping: asyncio.Event) -> None:
        self._report_inbox: Final = report_inbox
        self._stopping: Final = stopping

    async def until_available(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """What `work` gives once it raises no Unavailable; None if we stop before."""
        for pause in pauses():
            try:
                done = await work()
            except Unavailable as error:
                self._report_inbox(str(error))
                if await self._stops_within(pause):
                    return None
            else:
                self._report_inbox(None)
                return done
        raise AssertionError("pauses never end")

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True
