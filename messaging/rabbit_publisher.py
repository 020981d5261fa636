"""Publishing to RabbitMQ: confirmed, many in flight, one receipt for each message."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from messaging.errors import Unavailable
from messaging.port import Outgoing, Receipt
from messaging.rabbit_lanes import Batch, Lane, Sender, open_lane
from messaging.rabbit_session import Session, Supervisor


class RabbitPublisher:
    """Publishes over one lane for each exchange."""

    def __init__(self, supervisor: Supervisor, *, sender: Sender, deadline: float) -> None:
        self._supervisor = supervisor
        self._sender = sender
        self._deadline = deadline
        self._session: Session | None = None
        self._lanes: dict[str, Lane] = {}
        self._opening = asyncio.Lock()

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
            if session and loop.time() - batch.moved > self._deadline / 2:
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
            lane = await self._lane_to(session, exchange)
            await lane.publish(batch, places)

    async def _lane_to(self, session: Session, exchange: str) -> Lane:
        lane = self._lanes.get(exchange) if session is self._session else None
        if lane is not None and lane.is_open:
            return lane
        async with self._opening:
            if session is not self._session:
                self._session, self._lanes = session, {}
            lane = self._lanes.get(exchange)
            if lane is None or not lane.is_open:
                lane = await open_lane(session, exchange, self._sender)
                self._lanes[exchange] = lane
            return lane
