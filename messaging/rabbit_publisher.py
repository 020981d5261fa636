"""Publishing to RabbitMQ: confirmed, many in flight, one receipt for each message."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from messaging import wire
from messaging.errors import Unavailable
from messaging.port import Outgoing, Receipt
from messaging.rabbit_lanes import Batch, BulkLane, Lane, NoLane, PlainLane, Sender
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
        return tuple(batch.receipts)

    async def _publish(self, session: Session, batch: Batch) -> None:
        places = batch.by_exchange()
        if len(places) == 1:
            [(exchange, all_places)] = places.items()
            await self._publish_to(session, exchange, batch, all_places)
            return
        await asyncio.gather(
            *(self._publish_to(session, *each, batch) for each in ())
        )
