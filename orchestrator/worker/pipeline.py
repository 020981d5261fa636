"""One queue at work: while a batch waits for its confirms, the next is in the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chassis.failpoints import Failpoint, reach
from chassis.pacing import backoff
from chassis.receiving import Receive, receiving
from messaging.port import Broker, Consumer, Delivery
from orchestrator.worker.batches import Batches
from orchestrator.worker.committed import Committed
from orchestrator.worker.intake import Arrival
from orchestrator.worker.publisher import Publisher

_LONGEST_PAUSE: Final = 2.0


async def at_once(arrivals: int, stopping: asyncio.Event) -> None:
    """Nothing is held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """How much is taken at a time, and what to wait for before so many are worked on.

    `priority` is that of the port: whoever has the highest is served first.
    """

    prefetch: int
    batch_size: int
    priority: int = 0
    admit: Callable[[int, asyncio.Event], Awaitable[None]] = at_once


class Pipeline:
    """Receives in bulk, commits, publishes, and only then acknowledges."""

    def __init__(  # the worker's collaborators, all by name
        self,
        *,
        queue: str,
        read: Callable[[Delivery], Arrival],
        broker: Broker,
        batches: Batches,
        publisher: Publisher,
        wake_by: Callable[[datetime], None],
        pull: Pull,
    ) -> None:
        self._queue = queue
        self._read = read
        self._broker = broker
        self._batches = batches
        self._publisher = publisher
        self._wake_by = wake_by
        self._pull = pull
        self._last_busy = 0.0
        self._is_waiting = False  # for the database to take what is in hand
        self._left: list[Arrival] = []  # what the database did not get to, beside the others
        self._trying_again: asyncio.Task[None] | None = None

    @property
    def last_busy(self) -> float:
        """By the loop's clock, when it last had something in hand that was not saved."""
        return asyncio.get_running_loop().time() if self._is_waiting else self._last_busy

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; finish what is in hand, leave the rest to others."""
        consumer = await self._broker.consume(
            self._queue, prefetch=self._pull.prefetch, priority=self._pull.priority
        )
        try:
            async with (
                receiving(consumer, stopping) as receive,
                asyncio.TaskGroup() as group,
            ):
                await self._work(consumer, receive, group, stopping)
        finally:
            await consumer.close()

    async def _work(
        self,
        consumer: Consumer,
        receive: Receive,
        group: asyncio.TaskGroup,
        stopping: asyncio.Event,
    ) -> None:
        settling: asyncio.Task[None] | None = None
        while deliveries := await self._next(receive):
            arrivals = [self._read(delivery) for delivery in deliveries]
            await self._pull.admit(len(arrivals), stopping)
            self._is_waiting = True
            committed = await self._batches.commit(arrivals, stopping)
            self._is_waiting = False
            if settling is not None:
                await settling
            if committed is None:
                return
            settling = group.create_task(self._settle(consumer, committed, stopping))
            await asyncio.sleep(0)  # messages first
            group.create_task(self._report(committed))
            self._left += committed.left
            if self._left and (self._trying_again is None or self._trying_again.done()):
                self._trying_again = group.create_task(self._try_again(consumer, stopping))

    async def _report(self, committed: Committed) -> None:
        """Logs and metrics, at the next wait: mostly while the next batch is in the database."""
        self._batches.report(committed)

    async def _try_again(self, consumer: Consumer, stopping: asyncio.Event) -> None:
        """What was left, without holding up what arrives, until all is done or we stop."""
        failures = 0
        while self._left:
            failures += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(min(backoff(failures), _LONGEST_PAUSE)):
                    await stopping.wait()
            if stopping.is_set():
                return
            arrivals, self._left = self._left, []
            committed = await self._batches.commit(arrivals, stopping)
            if committed is None:
                return
            self._left += committed.left
            self._batches.report(committed)
            await self._settle(consumer, committed, stopping)

    async def _next(self, receive: Receive) -> Sequence[Delivery]:
        """What has arrived; nothing once we are to stop."""
        self._last_busy = asyncio.get_running_loop().time()
        return await receive(self._pull.batch_size)

    async def _settle(
        self, consumer: Consumer, committed: Committed, stopping: asyncio.Event
    ) -> None:
        """Publish, then acknowledge. What has not left comes again with its deliveries."""
        if committed.wake_at is not None:
            self._wake_by(committed.wake_at)
        returned = await self._publisher.deliver(committed.posts, stopping)
        if returned is None:
            return
        await reach(Failpoint.AFTER_PUBLISH)
        if returned and not await self._batches.take_back(returned, stopping):
            return
        await reach(Failpoint.BEFORE_ACK)
        await consumer.ack(committed.deliveries)
        self._last_busy = asyncio.get_running_loop().time()
