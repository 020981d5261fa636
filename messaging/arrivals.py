"""What has arrived for a consumer and is not yet taken."""

import asyncio
from collections import deque
from collections.abc import Sequence

from messaging.errors import Unavailable
from messaging.port import Delivery


class Arrivals:
    """Deliveries in the order of their arrival. The broker's prefetch bounds it."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._waiting: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False

    def put(self, *deliveries: Delivery) -> None:
        self._waiting.extend(deliveries)
        self._changed.set()

    async def take(self, limit: int) -> Sequence[Delivery]:
        """At least one, at most `limit`. Unavailable once closed, so that nobody waits for ever."""
        while not self._waiting:
            if self._is_closed:
                raise Unavailable(f"the consumer of {self._queue!r} is closed")
            self._changed.clear()
            await self._changed.wait()
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def drop(self) -> None:
        """Forget what nobody took: its session has ended, and the broker sends it again."""
        self._waiting.clear()

    def close(self) -> None:
        self._is_closed = True
        self._waiting.clear()
        self._changed.set()
