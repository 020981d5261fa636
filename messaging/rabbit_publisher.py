"""Publishing to RabbitMQ: confirmed, many in flight, one receipt for each message."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed

from messaging.errors import Unavailable
from messaging.port import Outgoing, Receipt
from messaging.rabbit_lanes import Batch, Lane, Sender, open_lane
from messaging.rabbit_session import Session, Supervisor

_TOLD: Final = 1.0  # seconds, for the library to read why a channel was closed
_OF_A_MESSAGE: Final = ("access to topic", "message size")  # RabbitMQ's words, from 3.7 on


class RabbitPublisher:
    """Publishes over one lane for each exchange.

    A message that the broker refuses, for its routing key or its size, takes its channel and all
    that is in flight there with it. After that messages to this exchange go one at a time, over
    a lane that no other call uses, until none is refused: so one of them does not hold up the
    others for ever, and is known to have not left.
    """

    def __init__(self, supervisor: Supervisor, *, sender: Sender, deadline: float) -> None:
        self._supervisor = supervisor
        self._sender = sender
        self._deadline = deadline
        self._session: Session | None = None
        self._lanes: dict[tuple[str, bool], Lane] = {}  # by exchange, and if it is one at a time
        self._refusing: set[str] = set()  # exchanges
        self._heard = 0.0  # by the loop's clock, when something was confirmed that went apart
        self._opening = asyncio.Lock()
        self._apart = asyncio.Lock()

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        batch = Batch(messages)
        loop = asyncio.get_running_loop()
        session = None
        try:
            async with asyncio.timeout(self._deadline):
                session = await self._supervisor.wait_session()
                batch.moved = loop.time()
                await self._publish(session, batch)
        except TimeoutError:
            heard = max(batch.moved, self._heard)  # it may have waited for its turn
            if session and loop.time() - heard > self._deadline / 2:
                # Silent for that long: blocked, frozen or half-open. A new connection tells.
                session.end(f"the broker confirmed nothing for {self._deadline / 2:g} s")
        return list(batch.receipts)

    async def _publish(self, session: Session, batch: Batch) -> None:
        places = batch.by_exchange()
        work = [self._publish_to(session, exchange, batch, places[exchange]) for exchange in places]
        await (work[0] if len(work) == 1 else asyncio.gather(*work))

    async def _publish_to(
        self, session: Session, exchange: str, batch: Batch, places: Sequence[int]
    ) -> None:
        with suppress(Unavailable, *CONNECTION_EXCEPTIONS):
            if exchange in self._refusing:
                await self._publish_apart(session, exchange, batch, places)
                return
            lane = await self._lane_to(session, exchange)
            await lane.publish(batch, places)
            if await _has_refused(lane):
                self._refusing.add(exchange)

    async def _publish_apart(
        self, session: Session, exchange: str, batch: Batch, places: Sequence[int]
    ) -> None:
        async with self._apart:
            is_refusing = False
            for place in places:
                lane = await self._lane_to(session, exchange, is_apart=True)
                await lane.publish(batch, [place])
                if await _has_refused(lane):
                    batch.receipts[place] = Receipt.UNROUTABLE
                    is_refusing = True
                self._heard = max(self._heard, batch.moved)
            if not is_refusing:
                self._refusing.discard(exchange)

    async def _lane_to(self, session: Session, exchange: str, *, is_apart: bool = False) -> Lane:
        lane = self._lanes.get((exchange, is_apart)) if session is self._session else None
        if lane is not None and lane.is_open:
            return lane
        async with self._opening:
            if session is not self._session:
                self._session, self._lanes = session, {}
            lane = self._lanes.get((exchange, is_apart))
            if lane is None or not lane.is_open:
                lane = await open_lane(session, exchange, self._sender)
                self._lanes[exchange, is_apart] = lane
            return lane


async def _has_refused(lane: Lane) -> bool:
    """Whether the broker has closed it because of what a message is. If the exchange is missing
    or forbidden, no message can help it: that is waited for."""
    if lane.is_open or lane.channel is None:
        return False
    closing = lane.channel.closing
    await asyncio.wait([closing], timeout=_TOLD)
    error = None if closing.cancelled() or not closing.done() else closing.exception()
    refusal = isinstance(error, ChannelAccessRefused | ChannelPreconditionFailed)
    return refusal and any(words in str(error) for words in _OF_A_MESSAGE)
