"""From the recorder's queue to the database: write down, commit, and only then acknowledge."""

from collections.abc import Sequence
from datetime import timedelta

from chassis.facts import EventRecorded, MessageRejected, Noticed, Observe
from chassis.pacing import Pace
from chassis.receiving import receiving
from messaging.errors import ProtocolError
from messaging.events import EVENT_ID, HEADERS, decode_event
from messaging.port import Broker, Delivery
from messaging.topology import Names
from orchestrator.store.database import DatabaseStore
from orchestrator.store.errors import StatementRejected
from orchestrator.store.event_log import Heard, record


class EventIntake:
    """Takes events in. While the database is away, what has arrived is held."""

    def __init__(
        self,
        broker: Broker,
        store: DatabaseStore,
        names: Names,
        observe: Observe,
        *,
        prefetch: int,
        quiet_after: timedelta,
    ) -> None:
        self._broker = broker
        self._store = store
        self._names = names
        self._observe = observe
        self._prefetch = prefetch
        self._quiet_after = quiet_after

    async def run(self, pace: Pace) -> None:
        consumer = await self._broker.consume(self._names.event_log, prefetch=self._prefetch)
        try:
            async with receiving(consumer, pace.stopping) as receive:
                while deliveries := await receive(self._prefetch):
                    heard = [each for each in map(self._heard, deliveries) if each is not None]
                    if await self._take(heard, pace):
                        await consumer.ack(deliveries)
        finally:
            await consumer.close()

    def _heard(self, delivery: Delivery) -> Heard | None:
        """The event; None for what does not say that it is one, and for what is none.

        Outcomes of an orchestrator have no event id: their sagas have a history of their own.
        What breaks the contract, the services that listen to it reject as a dead letter.
        """
        if delivery.headers.get(EVENT_ID) is None:
            return None
        try:
            event = decode_event(delivery)
        except ProtocolError as error:
            self._observe(
                MessageRejected(
                    queue=delivery.queue,
                    reason=error.reason,
                    detail=error.detail,
                    message_id=delivery.message_id,
                    saga_id=delivery.correlation_id,
                )
            )
            return None
        kept = {name: delivery.headers[name] for name in HEADERS if name in delivery.headers}
        return Heard(event=event, headers=kept, body=delivery.body)

    async def _take(self, heard: Sequence[Heard], pace: Pace) -> bool:
        """Write them all down, however long the database takes; False if we are to stop before."""
        return await pace.until_done(lambda: self._record_all(heard))

    async def _record_all(self, heard: Sequence[Heard]) -> None:
        """One transaction; if the database refuses it, one for each event."""
        try:
            await self._record_together(heard)
        except StatementRejected:
            for each in heard:
                await self._record_alone(each)

    async def _record_together(self, heard: Sequence[Heard]) -> None:
        """In the order of their sagas, and of their arrival: two recorders must not deadlock."""
        in_order = sorted(heard, key=lambda one: one.event.saga_id)
        async with self._store.transaction() as transaction:
            new = [
                each.event
                for each in in_order
                if await record(transaction, each, self._quiet_after)
            ]
        for event in new:
            self._observe(
                EventRecorded(
                    saga_id=event.saga_id,
                    saga_type=event.saga.saga_type,
                    event=event.type,
                    service=event.service,
                    ends=event.ends.value if event.ends else None,
                )
            )

    async def _record_alone(self, heard: Heard) -> None:
        try:
            await self._record_together([heard])
        except StatementRejected as error:
            details = {"saga_id": heard.event.saga_id, "problem": str(error)}
            message = "an event could not be recorded"
            self._observe(Noticed(level="error", message=message, details=details))
