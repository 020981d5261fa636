"""Tells how locks are doing, and clears away what nobody will let go of any more."""

import asyncio
from datetime import timedelta
from typing import Final

from chassis.facts import GaugeMeasured, Noticed, Observe
from chassis.pacing import Pace, Reachability
from orchestrator.store.port import Store

Values = dict[tuple[str, ...], float]

_EVERY: Final = timedelta(seconds=15)


class LockWatch:
    """For workers whose definitions have locks."""

    def __init__(self, store: Store, database: Reachability, observe: Observe) -> None:
        self._store = store
        self._database = database
        self._observe = observe

    async def run(self, stopping: asyncio.Event) -> None:
        """Look now and then until `stopping` is set."""
        await Pace(stopping, self._database).repeat(self.look, interval=_EVERY)

    async def look(self) -> bool:
        """Count, and clear; there is never more to do at once."""
        cleared = await self._store.clear_locks()
        if cleared:
            message = "locks of sagas that have ended were still held, and are free now"
            details = {"lines": cleared}
            self._observe(Noticed(level="warning", message=message, details=details))
        counts = await self._store.lock_counts()
        waiting: Values = {(each.saga_type,): float(each.waiting) for each in counts}
        held: Values = {(each.saga_type,): each.longest_held.total_seconds() for each in counts}
        self._observe(GaugeMeasured(name="saga_locks_waiting", values=waiting))
        self._observe(GaugeMeasured(name="saga_lock_held_seconds", values=held))
        return False
