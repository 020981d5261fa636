"""What the clock hears of the database between two looks."""

import asyncio

from orchestrator.store.port import Store


class Hearing:
    """Listens for announcements of the database, on through the clock's other reasons to wake."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._task: asyncio.Task[None] | None = None

    def task(self, timeout: float) -> asyncio.Task[None]:
        """Done when something was announced since the last one, or after `timeout` seconds."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._store.wait_for_due(timeout))
        return self._task

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
