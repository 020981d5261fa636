"""Consuming from RabbitMQ: arrivals only queue up, and every session starts afresh."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from messaging.arrivals import Arrivals
from messaging.errors import SagaError
from messaging.port import Delivery
from messaging.rabbit_backoff import Backoff
from messaging.rabbit_feeds import Feed, feed_over
from messaging.rabbit_session import Session

RENEWAL_SECONDS: Final = 15.0

_sessions: Final = itertools.count(1)


class RabbitConsumer:
    """Deliveries of one queue, over one channel at a time.

    A consumer that has heard nothing for a while consumes anew. A quorum queue that is deleted
    and at once declared again cancels none of its consumers: RabbitMQ attaches them to the new
    queue, takes its first messages for ones that it has sent already, and sends nothing.
    """

    def __init__(
        self, queue: str, *, prefetch: int, priority: int, report: Callable[[bool, str], None]
    ) -> None:
        self.queue = queue
        self.is_closed = False
        self.problem: str | None = None  # why it is not consuming
        self._prefetch = prefetch
        self._priority = priority
        self._report = report
        self._arrivals = Arrivals(queue)
        self._unsettled: dict[int, None] = {}  # tags in the order of arrival
        self._settling = asyncio.Lock()
        self._number = 0  # of the current session; 0: none
        self._session: Session | None = None
        self._feed: Feed | None = None
        self._is_started = False  # its first deliveries may arrive before the broker says so
        self._has_heard = False  # anything since the last look
        self._attaching: asyncio.Task[None] | None = None

    @property
    def is_consuming(self) -> bool:
        is_live = self._session is not None and not self._session.has_ended
        feed = self._feed
        return is_live and self._is_started and feed is not None and not feed.channel.is_closed

    async def receive(self, limit: int) -> Sequence[Delivery]:
        return await self._arrivals.take(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        async with self._settling:
            feed, done = self._feed, self._current(deliveries)
            prefix = list(itertools.takewhile(done.__contains__, self._unsettled))
            if feed and prefix:
                is_many = len(prefix) > 1
                await self._settle(feed, partial(feed.ack, prefix[-1], multiple=is_many), prefix)
            for tag in sorted(done.difference(prefix)):
                if feed:
                    await self._settle(feed, partial(feed.ack, tag, multiple=False), [tag])

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        async with self._settling:
            feed = self._feed
            for tag in sorted(self._current(deliveries)):
                if feed:
                    await self._settle(feed, partial(feed.reject, tag), [tag])

    async def close(self) -> None:
        self.is_closed = True
        self._arrivals.close()
        if self._attaching:
            self._attaching.cancel()
        feed, session = self._feed, self._session
        self._detach()
        if feed and session:
            await session.close_channel(feed.channel)

    def attach(self, session: Session) -> None:
        """Consume over `session` until it ends."""
        if not self.is_closed:
            self._attaching = session.spawn(self._keep_trying(session))

    async def _keep_trying(self, session: Session) -> None:
        """A queue that is missing or forbidden is tried again here, and disturbs no other."""
        backoff = Backoff()
        try:
            while not session.has_ended:
                await self._try(session, backoff)
        finally:
            if self._session is session:
                self._detach()

    async def _try(self, session: Session, backoff: Backoff) -> None:
        try:
            await self._begin(session)
            self.problem = None
            self._report(True, f"queue {self.queue!r} is being consumed")
            while not await session.ended(RENEWAL_SECONDS):
                if not self._has_heard and not self._unsettled:
                    await self._renew(session)
                self._has_heard = False
        except (SagaError, *CONNECTION_EXCEPTIONS) as error:
            self.problem = f"queue {self.queue!r} cannot be consumed: {error}"
            self._report(False, self.problem)
            await session.ended(backoff.next_pause())

    async def _renew(self, session: Session) -> None:
        """What an idle channel that has gone deaf was to bring goes back, and comes again."""
        idle = self._feed
        try:
            await self._begin(session)
        finally:
            if idle:
                await session.close_channel(idle.channel)

    async def _begin(self, session: Session) -> None:
        number = next(_sessions)
        channel = await session.channel()
        channel.on_consumer_cancel_callbacks.add(
            lambda _: session.end(f"the broker cancelled the consumer of {self.queue!r}")
        )
        self._stop_feed()
        self._session, self._number = session, number
        self._feed = feed_over(session, channel, self.queue, number, self._take)
        try:
            await self._feed.start(self._prefetch, self._priority)
        except BaseException:
            session.spawn(session.close_channel(channel))
            self._stop_feed()
            self._is_started = False
            raise
        self._is_started = True
        session.watch(channel)

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        self._has_heard = True
        self._unsettled.update((each.tag, None) for each in deliveries)
        self._arrivals.put(*deliveries)

    def _detach(self) -> None:
        self._stop_feed()
        self._number, self._session, self._is_started = 0, None, False

    def _stop_feed(self) -> None:
        """What has come over it comes again over the next."""
        if self._feed:
            self._feed.stop()
        self._feed = None
        self._unsettled.clear()
        self._arrivals.drop()

    def _current(self, deliveries: Sequence[Delivery]) -> set[int]:
        """The tags among them that the broker still waits for."""
        tags = {each.tag for each in deliveries if each.session == self._number}
        return tags & self._unsettled.keys()

    async def _settle(
        self, feed: Feed, settle: Callable[[], Awaitable[None]], tags: Iterable[int]
    ) -> None:
        """Failing to settle ends the session: the broker then sends everything again. Once
        there is another feed its tags count from one again, and are other deliveries."""
        session = self._session
        if feed is not self._feed:
            return
        try:
            await settle()
        except (SagaError, *CONNECTION_EXCEPTIONS) as error:
            if session:
                session.end(f"a delivery of {self.queue!r} could not be settled: {error}")
        if feed is self._feed:
            for tag in tags:
                self._unsettled.pop(tag, None)
