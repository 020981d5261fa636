"""The choreographed order as it is played: it completes, or fails at each of its services."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.recorder.story import story_of
from orchestrator.store.database import DatabaseStore
from orchestrator.store.event_queries import Record, show_choreography
from orchestrator.store.stores import store_for
from participants.choreography.starting import Starts
from participants.examples import order_choreography_books as books
from participants.examples.order_choreography import Order, place_order
from tests.examples.playing import SECONDS, Case, Example, Played, books_of
from tests.product import audit
from tests.product.installation import Installation


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedChoreography(Played):
    """How the sagas ended, as the recorder has heard it."""

    records: Mapping[str, Record]

    def ended(self, case: Case) -> str:
        return self.records[case.saga_id].standing.state

    def story(self, saga_id: str) -> Sequence[str]:
        """The types of its events, as they follow from one another."""
        return [chapter.event.type for chapter in story_of(self.records[saga_id])]

    def _otherwise(self) -> Iterator[str]:
        for case in self.example.cases:
            told = str(self.records[case.saga_id].events[-1].data.get("error", ""))
            if self.ended(case) != case.ends or case.error not in told:
                wanted = f"{case.ends} {case.error}".strip()
                yield f"{case.saga_id} is {self.ended(case)} {told!r}, not {wanted!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoreographyCase(Case):
    """One order. It fails without a step that could be named."""

    @property
    def ends(self) -> str:
        return "failed" if self.fails_at else "completed"


async def fill(connection: AsyncConnection) -> None:
    await books.put_on_shelf(connection, "lamp", 100)
    await books.put_on_shelf(connection, "vase", 0)


def cases() -> Iterator[Case]:
    for number in range(8):
        yield _case(f"lamp-{number}", "everything in order", cents=1_999 + number)
    for number in range(4):
        yield _case(f"vase-{number}", "not in stock", "InventoryService", sku="vase")
        yield _case(f"poor-{number}", "the payment fails", "PaymentService", limit_cents=1)
        yield _case(f"away-{number}", "the shipment fails", "ShippingService", address="nowhere")


ERRORS = {
    "not in stock": "not enough of vase in stock",
    "the payment fails": "the card is declined: 20.00 is above its limit",
    "the shipment fails": "no carrier goes to nowhere",
}


def _case(saga_id: str, kind: str, fails_at: str | None = None, **wishes: Any) -> Case:
    order = {"sku": "lamp", "quantity": 2, "cents": 2_000, "limit_cents": 10_000, "address": "here"}
    error = ERRORS.get(kind, "")
    data = {**order, **wishes}
    return ChoreographyCase(saga_id=saga_id, kind=kind, data=data, fails_at=fails_at, error=error)


async def choreograph(example: Example, installation: Installation) -> Played:
    """Place every order, and wait until all sagas have ended."""
    place = installation.place
    store = store_for(place.saga_database)
    inbox_url, namespace = place.shop_database, place.namespace
    opened = Starts.open(place.amqp_url, inbox_url=inbox_url, namespace=namespace)
    async with opened as starts, books_of(place) as engine:
        for case in example.cases:
            await place_order(starts, case.saga_id, Order.model_validate(case.data))
        records = {case.saga_id: await ended_record(store, case.saga_id) for case in example.cases}
        await store.close()
        completed = {name for name, one in records.items() if one.standing.state == "completed"}
        return PlayedChoreography(
            example=example,
            sagas={},
            records=records,
            books=await books.balance(engine, completed),
            dead_letters=await audit.messages_in(place, place.names.dead_letters),
        )


async def ended_record(store: DatabaseStore, saga_id: str) -> Record:
    async with asyncio.timeout(SECONDS):
        while True:
            record = await show_choreography(store, saga_id)
            if record and record.standing.ended_at:
                return record
            await asyncio.sleep(0.05)


ORDER_CHOREOGRAPHY = Example(
    name="order-choreography",
    saga_type="OrderChoreography",
    module="order_choreography",
    cases=tuple(cases()),
    create_missing=books.create_missing,
    fill=fill,
    balance=books.balance,
    choreograph=choreograph,
)
