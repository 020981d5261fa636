"""One choreographed service at work: events heard, reacted to, published, acknowledged."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Self

from chassis import tracing
from chassis.facts import EventHandled, Noticed, Observe
from chassis.failpoints import Failpoint, reach
from messaging.errors import ProtocolError, Unavailable
from messaging.events import decode_event
from messaging.port import Broker, Consumer, Delivery, Outgoing, Receipt
from messaging.topology import Names
from participants.assignment import cut_off, rejection_of
from participants.choreography.definition import Choreography
from participants.choreography.execution import Done, EventExecutor, Heard
from participants.choreography.log import EventLog, Place
from participants.execution import Pauses
from participants.holding import Holding
from participants.outcome import text_of
from participants.settling import Settlement, Settler, pauses
from participants.underway import Underway

SWEEP_AFTER: Final = timedelta(seconds=30)
_SWEEP_AT_MOST_EVERY: Final = 0.1
_SWEPT_AT_A_TIME: Final = 100
_PAUSE_AFTER_SURPRISE: Final = 1.0
_PAID_EVERY: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hall:
    """What all choreographed services of one program share."""

    broker: Broker
    names: Names
    log: EventLog
    observe: Observe
    report_inbox: Callable[[str | None], None]
    concurrency: int
    prefetch: int | None
    tries: int
    pauses: Pauses
    sweep_after: timedelta


class ChoreographyService:
    """Reacts to the events of one service, each in a task, at most `concurrency` at a time."""

    def __init__(
        self,
        choreography: Choreography,
        hall: Hall,
        consumer: Consumer,
        stopping: asyncio.Event,
    ) -> None:
        self._choreography = choreography
        self._hall = hall
        self._consumer = consumer
        self._stopping = stopping
        self._executor = EventExecutor(
            choreography, hall.log, hall.names, tries=hall.tries, pauses=hall.pauses
        )
        self._settler = Settler(hall.broker, consumer, hall.observe)
        self._holding = Holding(hall.report_inbox, stopping)
        self._paid: set[Place] = set()  # published, and still noted as owed
        self._tasks = asyncio.TaskGroup()
        self._underway = Underway(self._tasks, most=hall.concurrency)

    @classmethod
    async def open(cls, choreography: Choreography, hall: Hall, stopping: asyncio.Event) -> Self:
        """Begin to consume the service's queue; `run` does the rest."""
        queue = hall.names.choreography_of(choreography.name)
        prefetch = hall.prefetch or 2 * hall.concurrency
        consumer = await hall.broker.consume(queue, prefetch=prefetch)
        return cls(choreography, hall, consumer, stopping)

    async def run(self) -> None:
        """Work until `stopping` is set, then finish what has begun."""
        name = self._choreography.name
        try:
            async with self._tasks as group:
                upkeep = [
                    group.create_task(self._settler.run(), name=f"acknowledgements of {name}"),
                    group.create_task(self._receive(), name=f"events of {name}"),
                    group.create_task(self._pay(), name=f"what {name} has published"),
                    group.create_task(self._sweep(), name=f"what {name} owes"),
                ]
                await self._stopping.wait()
                for each in upkeep[1:]:
                    each.cancel()
                await self._underway.ended()
                await self._settler.drain()
                upkeep[0].cancel()
            with suppress(Unavailable):  # then it is published once more
                await self._mark_paid()
        finally:
            await self._consumer.close()

    async def _receive(self) -> None:
        while True:
            for delivery in await self._consumer.receive(await self._underway.room()):
                self._underway.begin(self._deal_with(delivery))

    async def _deal_with(self, delivery: Delivery) -> None:
        """Sorts whatever can happen: settle it, leave it, or give it back."""
        try:
            settlement = await self._settlement_of(delivery)
        except ProtocolError as error:
            self._settler.put(rejection_of(self._hall.names, delivery, error))
        except asyncio.CancelledError:
            self._hall.observe(cut_off("event", delivery))
            raise
        except Exception as error:
            self._hall.observe(_surprise(delivery, error))
            await asyncio.sleep(_PAUSE_AFTER_SURPRISE)
            await self._consumer.release([delivery])
        else:
            if settlement is not None:
                self._settler.put(settlement)

    async def _settlement_of(self, delivery: Delivery) -> Settlement | None:
        """Once all is published; None if the delivery is left to come again."""
        event = decode_event(delivery)
        reaction = self._choreography.reactions.get(event.type)
        if reaction is None:  # an older release listened to it, and its binding is still there
            return Settlement(delivery=delivery, message=None)
        heard = Heard(event=event, payload=delivery.body, reaction=reaction)
        began = asyncio.get_running_loop().time()
        with tracing.processing(
            delivery.queue,
            delivery.exchange,
            delivery.routing_key,
            saga_id=event.saga_id,
            traceparent=event.saga.traceparent,
        ):
            react = partial(self._executor.react, heard)
            done: Done | None = await self._holding.until_available(react)
        if done is None or not await self._publish(done.messages):
            return None
        if done.messages:
            self._paid.add(Place(self._choreography.name, event.saga_id, event.event_id))
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
        return Settlement(delivery=delivery, message=None, fact=self._fact(heard, done, took))

    async def _publish(self, messages: Sequence[Outgoing]) -> bool:
        """Publish until the broker has them all; False if we are to stop before."""
        left = list(messages)
        await reach(Failpoint.PARTICIPANT_BEFORE_PUBLISH)
        for pause in pauses():
            receipts = await self._hall.broker.publish(left) if left else []
            left = [
                message
                for message, receipt in zip(left, receipts, strict=True)
                if receipt is not Receipt.CONFIRMED
            ]
            if not left:
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                return False
        raise AssertionError("pauses never end")

    async def _pay(self) -> None:
        """Note what is published, many lines at a time: until then the sweep would send it."""
        while True:
            await asyncio.sleep(_PAID_EVERY)
            with suppress(Unavailable):
                await self._mark_paid()

    async def _mark_paid(self) -> None:
        paid = list(self._paid)
        await self._hall.log.mark_published(paid)
        self._paid.difference_update(paid)

    async def _sweep(self) -> None:
        """Publish what was stored, and what nobody has published since."""
        name, log = self._choreography.name, self._hall.log
        sweep_after = self._hall.sweep_after
        while True:
            with suppress(Unavailable):
                owed = await log.owed(name, sweep_after, _SWEPT_AT_A_TIME)
                late = [each for each in owed if each.place not in self._paid]
                if late and await self._publish([m for each in late for m in each.messages]):
                    self._paid.update(each.place for each in late)
                    self._hall.observe(_swept(name, len(late)))
            await asyncio.sleep(max(_SWEEP_AT_MOST_EVERY, sweep_after.total_seconds() / 6))

    def _fact(self, heard: Heard, done: Done, took: timedelta) -> EventHandled:
        return EventHandled(
            service=self._choreography.name,
            event=heard.event.type,
            outcome=done.outcome,
            saga_id=heard.event.saga_id,
            saga_type=heard.event.saga.saga_type,
            emitted=tuple(message.type for message in done.messages),
            took=took,
            error=done.error,
        )


def _swept(service: str, lines: int) -> Noticed:
    return Noticed(
        level="warning",
        message="events that were stored and not published are published now",
        details={"service": service, "lines": lines},
    )


def _surprise(delivery: Delivery, error: Exception) -> Noticed:
    return Noticed(
        level="error",
        message="an event could not be dealt with and is given back",
        details={
            "queue": delivery.queue,
            "event_type": delivery.type,
            "saga_id": delivery.correlation_id,
            "error": text_of(error),
        },
    )
