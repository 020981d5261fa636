"""Sagas without end: started by message and by client, never too many at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice

import aiormq

from messaging.errors import Unavailable
from orchestrator import SagaClient
from tests.product.installation import Place
from tests.product.orders import Asked
from tests.soak.orders import ends_by_itself
from tests.soak.post import Outcomes, Post

STILL_SECONDS = 180.0  # no saga starts or ends for so long: they are stuck
AT_ONCE = 20  # sagas asked for together
_AWAY = (
    OSError,
    TimeoutError,
    Unavailable,
    aiormq.exceptions.AMQPError,
    aiormq.exceptions.ChannelInvalidStateError,
)
_PATIENCE = 20.0  # seconds for one attempt
_PAUSE = 0.3  # seconds before another


class Stream:
    """Asks for sagas until `count`, and hears how they end.

    It lives through every outage: what it is not sure of it asks for again, under the same id.
    """

    def __init__(self, place: Place, orders: Iterator[Asked], *, count: int, window: int) -> None:
        self.count = count
        self.started = 0
        self.allowed = count  # it waits here for the faults to keep up
        self.retries = 0
        self.outcomes = Outcomes(place)
        self._place = place
        self._orders = orders
        self._window = window
        self._without_end = 0

    @property
    def under_way(self) -> int:
        """Sagas that have not ended and will."""
        return self.started - self._without_end - len(self.outcomes.told)

    async def run(self) -> None:
        """Until all were asked for and all that end by themselves have ended."""
        hearing = asyncio.create_task(self._persist(self.outcomes.listen))
        try:
            async with (
                SagaClient(self._place.saga_database) as client,
                Post(self._place) as post,
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._ask(lambda orders: _start_by(client, orders)))
                group.create_task(self._ask(post.start))
            while self.under_way > 0:
                await asyncio.sleep(0.2)
        finally:
            hearing.cancel()
            await asyncio.wait([hearing])

    async def _ask(self, start: Callable[[Sequence[Asked]], Awaitable[None]]) -> None:
        while self.started < self.count:
            if self.under_way >= self._window or self.started >= self.allowed:
                await asyncio.sleep(0.02)
                continue
            orders = list(islice(self._orders, min(AT_ONCE, self.count - self.started)))
            self.started += len(orders)
            self._without_end += sum(not ends_by_itself(asked) for asked in orders)
            await self._persist(lambda orders=orders: _in_time(start(orders)))  # type: ignore[misc]

    async def _persist(self, attempt: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await attempt()
            except _AWAY:
                self.retries += 1
                await asyncio.sleep(_PAUSE)


class Way:
    """How far a stream has come: it must not stand still for long."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._seen = self._now()
        self._since = time.monotonic()

    def go_on(self) -> None:
        if (now := self._now()) != self._seen:
            self._seen, self._since = now, time.monotonic()
        still = time.monotonic() - self._since
        assert still < STILL_SECONDS, f"nothing has moved for {still:.0f} s at {now}"

    def _now(self) -> tuple[int, int]:
        return self._stream.started, len(self._stream.outcomes.told)


async def _in_time(attempt: Awaitable[None]) -> None:
    async with asyncio.timeout(_PATIENCE):
        await attempt


async def _start_by(client: SagaClient, orders: Sequence[Asked]) -> None:
    for asked in orders:
        await client.start(asked.saga_type, asked.data, saga_id=asked.saga_id)
