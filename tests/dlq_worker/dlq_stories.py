"""Sagas in trouble, the letters they cause, and short ways to both."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.facts import Fact
from dlq_worker.letter import DeadLetter, read_letter
from messaging.contract import Direction as WireDirection
from messaging.contract import command_id_for
from messaging.port import Delivery, Outgoing
from messaging.topology import Names
from orchestrator.backoff import retry_delay
from orchestrator.saga.decide import decide
from orchestrator.saga.plan import OnExhausted, PlannedStep, RetryPolicy
from orchestrator.saga.start import begin, requested
from orchestrator.saga.state import (
    CompensationFailed,
    Event,
    OutboundKind,
    Saga,
    StepCompleted,
    StepFailed,
)
from orchestrator.store.database import DatabaseStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = Names("saga")
SAGA = "order-42"
REFUND = "PaymentService.RefundPayment"
GATEWAY_DOWN = "gateway 17 said 503"


def step(name: str, stage: int, action: str, compensation: str | None, **more: Any) -> PlannedStep:
    return PlannedStep(
        name=name,
        stage=stage,
        action=action,
        compensation=compensation,
        timeout=timedelta(minutes=5),
        compensation_retry=RetryPolicy(max_attempts=1),
        **more,
    )


PLAN = (
    step("reserve", 0, "InventoryService.ReserveItems", "InventoryService.ReleaseReservation"),
    step("pay", 1, "PaymentService.ProcessPayment", REFUND),
    step("ship", 2, "ShippingService.CreateShipment", None),
)
PAST_PIVOT = (
    step("pay", 0, "PaymentService.ProcessPayment", None, pivot=True),
    step("ship", 1, "ShippingService.CreateShipment", None),
)

STARTED: tuple[Event, ...] = ()
PAYING: tuple[Event, ...] = (StepCompleted(step="reserve", cause="m1"),)
REFUNDING: tuple[Event, ...] = (
    *PAYING,
    StepCompleted(step="pay", cause="m2", result={"payment_id": "p-1"}),
    StepFailed(step="ship", cause="m3", error="no truck"),
)
REFUND_FAILED: tuple[Event, ...] = (
    *REFUNDING,
    CompensationFailed(step="pay", cause="m4", error=GATEWAY_DOWN),
)
FORWARD_EXHAUSTED: tuple[Event, ...] = (
    StepCompleted(step="pay", cause="m1"),
    StepFailed(step="ship", cause="m2", error="no truck"),
)


def saga_after(
    *events: Event, saga_id: str = SAGA, plan: tuple[PlannedStep, ...] = PLAN, now: datetime = NOW
) -> Saga:
    """A saga of that plan to which these events have happened."""
    asked = requested(
        saga_id=saga_id, saga_type="Order", data={"card": "4111"}, input_digest="d", now=now
    )
    decision = begin(
        asked, plan, on_exhausted=OnExhausted.HALT, now=now, delay=retry_delay, cause="m0"
    )
    for event in events:
        decision = decide(decision.saga, event, now=now, delay=retry_delay)
    return decision.saga


async def stored_saga(
    store: DatabaseStore,
    *events: Event,
    saga_id: str = SAGA,
    plan: tuple[PlannedStep, ...] = PLAN,
) -> Saga:
    """The same in the database, with its history."""
    async with store.transaction() as transaction:
        asked = requested(
            saga_id=saga_id,
            saga_type="Order",
            data={"card": "4111"},
            input_digest="d",
            now=transaction.now,
        )
        decision = begin(
            asked,
            plan,
            on_exhausted=OnExhausted.HALT,
            now=transaction.now,
            delay=retry_delay,
            cause="m0",
        )
        assert not await transaction.insert([decision])
    for event in events:
        await happened(store, event, saga_id=saga_id)
    async with store.transaction() as transaction:
        return (await transaction.lock([saga_id]))[saga_id]


async def happened(store: DatabaseStore, event: Event, *, saga_id: str = SAGA) -> Saga:
    """Let the event happen to the saga, as a worker would."""
    async with store.transaction() as transaction:
        saga = (await transaction.lock([saga_id]))[saga_id]
        decision = decide(saga, event, now=transaction.now, delay=retry_delay)
        await transaction.save([decision])
    return decision.saga


def exhausted(saga: Saga, names: Names = NAMES) -> Outgoing:
    """What the orchestrator publishes when a step of `saga` has exhausted its retries."""
    owed = next(each for each in saga.outbound if each.kind is OutboundKind.DEAD_LETTER)
    direction = WireDirection(owed.direction or "action")
    planned = next(each.plan for each in saga.steps if each.name == owed.step)
    is_action = direction is WireDirection.ACTION
    destination = planned.action if is_action else planned.compensation
    assert destination
    headers: dict[str, str | int] = {
        "saga-type": saga.saga_type,
        "saga-step": planned.name,
        "saga-direction": str(direction),
        "saga-command-id": command_id_for(saga.saga_id, planned.name, direction),
        "saga-attempt": owed.attempt or 1,
        "saga-reason": owed.reason or "",
        "saga-error": owed.error or "",
        "saga-destination": destination,
    }
    return Outgoing(
        exchange=names.dead,
        routing_key=owed.destination,
        type=destination,
        body=owed.body.encode(),
        correlation_id=saga.saga_id,
        headers=headers,
    )


def delivery(
    routing_key: str,
    body: Mapping[str, Any] | bytes = b"{}",
    *,
    headers: Mapping[str, Any] | None = None,
    **more: Any,
) -> Delivery:
    """An arrival in the dead-letter queue."""
    values = {
        "queue": NAMES.dead_letters,
        "exchange": NAMES.dead,
        "tag": 1,
        "session": 1,
        "message_id": "message-1",
        **more,
    }
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(routing_key=routing_key, body=raw, headers=headers or {}, **values)


def delivered(message: Outgoing, **more: Any) -> Delivery:
    return delivery(
        message.routing_key,
        message.body,
        headers=message.headers,
        type=message.type,
        correlation_id=message.correlation_id,
        **more,
    )


def letter(routing_key: str, body: Mapping[str, Any] | bytes = b"{}", **more: Any) -> DeadLetter:
    return read_letter(delivery(routing_key, body, **more), NAMES)


def command_letter(
    queue: str = "saga.commands.PaymentService",
    *,
    command: str = "PaymentService.ProcessPayment",
    direction: str = "action",
    step_name: str = "pay",
    attempt: int = 1,
    saga_id: str = SAGA,
) -> DeadLetter:
    """A command that the broker gave up, or (with `rejected.`) its participant."""
    return letter(
        queue,
        {"saga_id": saga_id, "step_name": step_name},
        type=command,
        headers={
            "saga-type": "Order",
            "saga-direction": direction,
            "saga-attempt": attempt,
            "saga-command-id": "command-1",
            "x-first-death-reason": "delivery_limit",
        },
    )


class Facts:
    """Collects what was observed."""

    def __init__(self) -> None:
        self.seen: list[Fact] = []

    def __call__(self, fact: Fact) -> None:
        self.seen.append(fact)


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    """The first truthy answer of `condition`, asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)
