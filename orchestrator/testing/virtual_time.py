"""A clock that can be put forward, and waits that end by it."""

import asyncio
from datetime import UTC, datetime, timedelta


class VirtualTime:
    """The real time, and how far it was put forward. Nothing puts it back."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)
        self._sleepers: dict[asyncio.Event, datetime] = {}

    def now(self) -> datetime:
        """The time by this clock."""
        return datetime.now(UTC) + self._ahead

    @property
    def sleepers(self) -> int:
        """How many wait in `sleep`."""
        return len(self._sleepers)

    @property
    def next_waking(self) -> datetime | None:
        """When the first of them goes on."""
        return min(self._sleepers.values(), default=None)

    async def sleep(self, duration: timedelta) -> None:
        """Wait so long by this clock."""
        woken = asyncio.Event()
        until = self.now() + duration
        self._sleepers[woken] = until
        waking = asyncio.get_running_loop().call_later(duration.total_seconds(), woken.set)
        try:
            await woken.wait()
        finally:
            waking.cancel()
            self._sleepers.pop(woken, None)

    def put_forward(self, until: datetime) -> None:
        """It is `until` now, if it was not later already. Who waited for that goes on."""
        self._ahead += max(timedelta(0), until - self.now())
        for woken in [each for each, moment in self._sleepers.items() if moment <= self.now()]:
            del self._sleepers[woken]
            woken.set()
