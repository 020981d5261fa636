"""Lets starts in no faster than their first steps are answered."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

from chassis.facts import Noticed, Observe
from messaging.errors import Unavailable
from orchestrator.store.port import Store

# A saga that has waited for longer waits for a participant that is away or slow: further starts
# do not make it wait longer.
FRESH: Final = timedelta(seconds=5)
_PAUSE: Final = 0.025


class Admission:
    """Holds starts back while as many sagas as the limit wait for their first reply.

    However many starts arrive at once, the queues of commands stay short, so that sagas under
    way keep their speed; the rest waits with the broker. The database is asked only once for as
    many starts as there was room for.
    """

    def __init__(self, store: Store, limit: int, observe: Observe) -> None:
        self._store = store
        self._limit = limit
        self._observe = observe
        self._room = limit

    async def wait(self, starts: int, stopping: asyncio.Event) -> None:
        """Return when so many starts may be taken, or when we are to stop. Limit 0: at once."""
        if self._limit == 0:
            return
        if self._room <= 0 and not await self._has_room():
            self._tell()
            while not stopping.is_set() and not await self._has_room():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await stopping.wait()
        self._room -= starts

    async def _has_room(self) -> bool:
        try:
            waiting = await self._store.unanswered(within=FRESH, limit=self._limit)
        except Unavailable:
            return True  # whoever stores the starts waits for the database
        self._room = self._limit - waiting
        return self._room > 0

    def _tell(self) -> None:
        message = "starts are held back: too many sagas wait for their first reply"
        self._observe(Noticed(level="info", message=message, details={"limit": self._limit}))
