"""Consuming from RabbitMQ: callbacks only enqueue, and every session starts afresh."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from messaging.arrivals import Arrivals
from messaging.errors import SagaError
from messaging.port import Delivery
from messaging.rabbit_delivery import delivery_of
from messaging.rabbit_session import CLOSE_SECONDS, RPC_SECONDS, Backoff, Session, within

RENEWAL_SECONDS: Final = 15.0

_sessions: Final = itertools.count(1)


class RabbitConsumer:
    """Deliveries of one queue, over one channel at a time.

    A consumer that has heard nothing for a while consumes anew. A quorum queue that is deleted
    and at once declared again cancels none of its consumers: RabbitMQ attaches them to the new
    queue, takes its first messages for ones that it has sent already, and sends nothing.
    """

    def __init__(self, queue: str, *, prefetch: int, report: Callable[[bool, str], None]) -> None:
        self.queue = queue
        self.is_closed = False
        self.problem: str | None = None  # why it is not consuming
        self._prefetch = prefetch
        self._report = report
        self._arrivals = Arrivals(queue)
        self._unsettled: dict[int, None] = {}  # tags in the order of arrival
        self._settling = asyncio.Lock()
        self._number = 0  # of the current session; 0: none
        self._session: Session | None = None
        self._channel: Channel | None = None
        self._is_started = False  # its first deliveries may arrive before the broker says so
        self._has_heard = False  # anything since the last look
        self._attaching: asyncio.Task[None] | None = None

    @property
    def is_consuming(self) -> bool:
        is_live = self._session is not None and not self._session.has_ended
        channel = self._channel
        return is_live and self._is_started and channel is not None and not channel.is_closed

    async def receive(self, limit: int) -> Sequence[Delivery]:
        return await self._arrivals.take(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        async with self._settling:
            done = self._current(deliveries)
            prefix = list(itertools.takewhile(done.__contains__, self._unsettled))
            if prefix:
                await self._ack(prefix[-1], covering=prefix)
            for tag in sorted(done.difference(prefix)):
                await self._ack(tag, covering=[tag])

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        async with self._settling:
            for tag in sorted(self._current(deliveries)):
                await self._reject(tag)

    async def close(self) -> None:
        self.is_closed = True
        self._arrivals.close()
        if self._attaching:
            self._attaching.cancel()
        channel, session = self._channel, self._session
        self._detach()
        if channel and session:
            await session.close_channel(channel)

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
        idle = self._channel
        try:
            await self._begin(session)
        finally:
            if idle:
                await session.close_channel(idle)

    async def _begin(self, session: Session) -> None:
        number = next(_sessions)
        channel = await session.channel()
        self._session, self._number = session, number
        self._forget_arrivals()
        channel.on_consumer_cancel_callbacks.add(
            lambda _: session.end(f"the broker cancelled the consumer of {self.queue!r}")
        )

        async def on_message(message: DeliveredMessage) -> None:
            if number == self._number:
                delivery = delivery_of(message, queue=self.queue, session=number)
                self._has_heard = True
                self._unsettled[delivery.tag] = None
                self._arrivals.put(delivery)

        self._channel = channel
        try:
            await within(RPC_SECONDS, channel.basic_qos(prefetch_count=self._prefetch))
            await within(RPC_SECONDS, channel.basic_consume(self.queue, on_message))
        except BaseException:
            session.spawn(session.close_channel(channel))
            self._channel, self._is_started = None, False
            raise
        self._is_started = True
        session.watch(channel)

    def _detach(self) -> None:
        self._number, self._session, self._channel, self._is_started = 0, None, None, False
        self._forget_arrivals()

    def _forget_arrivals(self) -> None:
        """What came over the last channel comes again over the next."""
        self._unsettled.clear()
        self._arrivals.drop()

    def _current(self, deliveries: Sequence[Delivery]) -> set[int]:
        """The tags among them that the broker still waits for."""
        tags = {each.tag for each in deliveries if each.session == self._number}
        return tags & self._unsettled.keys()

    async def _ack(self, tag: int, *, covering: Sequence[int]) -> None:
        if channel := self._channel:
            await self._send(channel.basic_ack(tag, multiple=len(covering) > 1, wait=False))
        for each in covering:
            self._unsettled.pop(each, None)

    async def _reject(self, tag: int) -> None:
        # basic.reject, not nack: from RabbitMQ 4.3 only it counts towards the delivery limit.
        if channel := self._channel:
            await self._send(channel.basic_reject(tag, requeue=True, wait=False))
        self._unsettled.pop(tag, None)

    async def _send(self, settlement: Awaitable[None]) -> None:
        """Failing to settle ends the session: the broker then sends everything again."""
        session = self._session
        try:
            await within(CLOSE_SECONDS, settlement)
        except (SagaError, *CONNECTION_EXCEPTIONS) as error:
            if session:
                session.end(f"a delivery of {self.queue!r} could not be settled: {error}")
