"""Sagas in every situation that the command line can show, put into a database."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from dlq_worker import letters
from dlq_worker.alerts import call_person
from dlq_worker.letter import read_letter
from dlq_worker.statuses import Severity
from messaging.topology import Names
from orchestrator.backoff import retry_delay
from orchestrator.definition import SagaOrchestrator, SagaStep
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.ids import digest_of
from orchestrator.planning import plan_for
from orchestrator.saga.decide import decide
from orchestrator.saga.plan import OnExhausted, PlannedStep, RetryPolicy
from orchestrator.saga.start import begin, requested
from orchestrator.saga.state import (
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    Event,
    Published,
    Saga,
    StepCompleted,
    StepFailed,
    TimeReached,
)
from orchestrator.store.database import DatabaseStore
from tests.dlq_worker.dlq_stories import delivered, exhausted

ORDER_DATA = {"order_id": "42", "items": [{"sku": "A-1", "quantity": 2, "price": 10}]}
ORDER_PLAN = plan_for(OrderFulfillmentSaga(), ORDER_DATA)
NO_TRUCK = "no truck is free before Friday"
GATEWAY_DOWN = "gateway answered 503"

Moment = tuple[timedelta, Event]


class Trip(SagaOrchestrator):
    """A parallel stage, a pivot, and a step past it."""

    saga_type = "Trip"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            [
                SagaStep("book_flight", "Flights.Book", "Flights.Cancel"),
                SagaStep("book_hotel", "Hotels.Book", "Hotels.Cancel"),
            ],
            SagaStep("pay", "Payments.Charge", pivot=True),
            SagaStep("send_tickets", "Mail.Send", retry=RetryPolicy(max_attempts=1)),
        ]


TRIP_PLAN = plan_for(Trip(), {})


def after(seconds: float, event: Event) -> Moment:
    """What happens that long after the saga has started."""
    return timedelta(seconds=seconds), event


RESERVED = after(1, StepCompleted(step="reserve_inventory", cause="m1", result={"hold": "h-1"}))
PAID = after(2.5, StepCompleted(step="process_payment", cause="m2", result={"payment": "p-1"}))
SHIPPED = after(4, StepCompleted(step="create_shipment", cause="m3"))
CONFIRMED = after(4.2, StepCompleted(step="send_confirmation", cause="m4"))
NOT_SHIPPED = after(4, StepFailed(step="create_shipment", cause="m3", error=NO_TRUCK))
REFUNDED = after(5, CompensationCompleted(step="process_payment", cause="m5"))
RELEASED = after(6, CompensationCompleted(step="reserve_inventory", cause="m6"))


def refund_fails(seconds: float, attempt: int) -> Moment:
    event = CompensationFailed(
        step="process_payment", cause=f"f{attempt}", error=GATEWAY_DOWN, attempt=attempt
    )
    return after(seconds, event)


def time_passes(seconds: float) -> Moment:
    return after(seconds, TimeReached())


COMPLETED: tuple[Moment, ...] = (RESERVED, PAID, SHIPPED, CONFIRMED)
FAILED: tuple[Moment, ...] = (RESERVED, PAID, NOT_SHIPPED, REFUNDED, RELEASED)
PAYING: tuple[Moment, ...] = (RESERVED,)
REFUND_PAUSED: tuple[Moment, ...] = (RESERVED, PAID, NOT_SHIPPED, refund_fails(5, 1))
REFUND_EXHAUSTED: tuple[Moment, ...] = (
    *REFUND_PAUSED,
    *(
        moment
        for attempt, at in ((2, 10), (3, 30), (4, 60), (5, 120))
        for moment in (time_passes(at), refund_fails(at + 1, attempt))
    ),
)
CANCELLED: tuple[Moment, ...] = (
    RESERVED,
    after(2, CancelRequested(reason="customer called", actor="anna")),
)
TICKETS_EXHAUSTED: tuple[Moment, ...] = (
    after(1, StepCompleted(step="book_flight", cause="m1")),
    after(1.5, StepCompleted(step="book_hotel", cause="m2")),
    after(2, StepCompleted(step="pay", cause="m3")),
    after(3, StepFailed(step="send_tickets", cause="m4", error="mailbox is full")),
)


async def stored(
    store: DatabaseStore,
    saga_id: str,
    moments: Sequence[Moment] = (),
    *,
    plan: Sequence[PlannedStep] = ORDER_PLAN,
    saga_type: str = "OrderFulfillment",
    data: Mapping[str, Any] = ORDER_DATA,
    began: timedelta = timedelta(minutes=5),
) -> Saga:
    """A saga that began so long ago and to which these events have happened."""
    async with store.transaction() as transaction:
        start = transaction.now - began
        asked = requested(
            saga_id=saga_id,
            saga_type=saga_type,
            data=data,
            input_digest=digest_of(saga_type, data),
            now=start,
        )
        decision = begin(
            asked,
            plan,
            on_exhausted=OnExhausted.HALT,
            now=start,
            delay=retry_delay,
            cause="m0",
            actor="client",
        )
        assert not await transaction.insert([decision])
    saga = decision.saga
    for offset, event in moments:
        saga = await happened(store, saga_id, event, at=start + offset)
        if isinstance(event, TimeReached):  # and what the clock has sent is confirmed
            confirmed = Published(version=saga.version)
            saga = await happened(store, saga_id, confirmed, at=start + offset)
    return saga


async def happened(store: DatabaseStore, saga_id: str, event: Event, *, at: Any) -> Saga:
    async with store.transaction() as transaction:
        saga = (await transaction.lock([saga_id]))[saga_id]
        decision = decide(saga, event, now=at, delay=retry_delay)
        await transaction.save([decision])
    return decision.saga


async def letter_of(store: DatabaseStore, saga: Saga, *, is_alerted: bool = False) -> int:
    """The dead letter that the saga owes, as the DLQ worker keeps it: its number."""
    letter = read_letter(delivered(exhausted(saga)), Names())
    async with store.transaction() as transaction:
        letter_id = await letters.keep(transaction, letter, is_repeated=False)
        assert letter_id
        if is_alerted:
            stored_letter = await letters.lock_letter(transaction, letter_id)
            assert stored_letter
            await letters.change(transaction, letter_id, next_replay_at=None)
            why = "all replays are used up"
            await call_person(transaction, stored_letter, why, Severity.CRITICAL)
    return letter_id
