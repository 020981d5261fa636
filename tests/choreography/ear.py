"""Whoever tells services of events, and hears all that is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from messaging.codec import identity_of
from messaging.events import (
    Ending,
    Event,
    SagaContext,
    decode_event,
    encode_event,
    event_id_for,
)
from messaging.port import Broker, Consumer, Delivery, Outgoing, Receipt
from messaging.topology import Names

SECONDS = 20.0


def event(
    kind: str,
    saga_id: str = "order-1",
    *,
    number: int = 0,
    causes: tuple[str, ...] = (),
    ends: Ending | None = None,
    **data: Any,
) -> Event:
    return Event(
        type=kind,
        event_id=event_id_for(saga_id, "Tests", kind, number),
        saga=SagaContext(saga_id=saga_id, saga_type="TestSaga", causes=causes),
        service="Tests",
        data=data,
        ends=ends,
    )


@dataclass(slots=True)
class Ear:
    """Publishes events, and consumes every event and every dead letter."""

    names: Names
    broker: Broker
    events: Consumer
    dead_letters: Consumer
    heard: list[Event] = field(default_factory=list)

    @classmethod
    async def open(cls, names: Names, broker: Broker) -> Self:
        await broker.wait_ready(SECONDS)
        events = await broker.consume(names.event_log, prefetch=100)
        dead_letters = await broker.consume(names.dead_letters, prefetch=100)
        return cls(names, broker, events, dead_letters)

    async def tell(self, *events: Event) -> None:
        await self.tell_raw(*(encode_event(self.names, each) for each in events))

    async def tell_raw(self, *messages: Outgoing) -> None:
        assert set(await self.broker.publish(messages)) == {Receipt.CONFIRMED}

    async def tell_body(self, kind: str, body: bytes, **headers: str | int) -> None:
        """An event whose body may be anything."""
        await self.tell_raw(
            Outgoing(
                exchange=self.names.events,
                routing_key=kind,
                type=kind,
                body=body,
                headers={name.replace("_", "-"): value for name, value in headers.items()},
                mandatory=False,
            )
        )

    async def hear(self, kind: str, saga_id: str = "order-1") -> Event:
        """The next event of that type and saga; others are kept in `heard`."""
        async with asyncio.timeout(SECONDS):
            while True:
                delivery = await self.next_event()
                told = decode_event(delivery)
                self.heard.append(told)
                if (told.type, told.saga_id) == (kind, saga_id):
                    return told

    async def next_event(self) -> Delivery:
        return await _next(self.events)

    async def dead_letter(self) -> Delivery:
        return await _next(self.dead_letters)

    def types(self) -> Sequence[str]:
        return [each.type for each in self.heard]


async def _next(consumer: Consumer) -> Delivery:
    async with asyncio.timeout(SECONDS):
        [delivery] = await consumer.receive(1)
    await consumer.ack([delivery])
    assert identity_of(delivery)
    return delivery
