"""Deliveries as an orchestrator gets them, made in advance: starts, and replies to them."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from messaging.port import Delivery
from messaging.topology import Names

NAMES: Final = Names("saga")
STEPS: Final = ("reserve_inventory", "process_payment", "create_shipment", "send_confirmation")
DATA: Final = {
    "customer_id": "customer-0042",
    "items": [{"sku": "A-1", "quantity": 2, "price": 19.99}, {"sku": "B-7", "quantity": 1}],
    "payment_method": "card",
    "shipping_address": {"street": "12 Harbour Road", "city": "Tromsø", "postcode": "9008"},
}


def batches_of(sagas: int, batch: int) -> Iterator[list[Delivery]]:
    """The starts and replies of so many sagas, a few hundred sagas at a time."""
    for first in range(0, sagas, batch):
        ids = [str(uuid4()) for _ in range(first, min(first + batch, sagas))]
        yield [_start(saga_id) for saga_id in ids]
        for step in STEPS:
            yield [_reply(saga_id, step) for saga_id in ids]


def _start(saga_id: str) -> Delivery:
    data = {"order_id": saga_id, **DATA}
    body = {"saga_type": "OrderFulfillment", "saga_id": saga_id, "data": data}
    return _delivery(NAMES.starts, "StartSaga", body, {})


def _reply(saga_id: str, step: str) -> Delivery:
    result = {f"{step}_id": str(uuid4()), f"{step}_at": "2026-11-21T02:04:00Z"}
    body = {"saga_id": saga_id, "step_name": step, "result": result}
    headers = {"saga-command-id": str(uuid4()), "saga-attempt": 1}
    return _delivery(NAMES.replies, "SagaStepCompleted", body, headers)


def _delivery(
    queue: str, kind: str, body: Mapping[str, object], headers: Mapping[str, object]
) -> Delivery:
    return Delivery(
        queue=queue,
        exchange=queue,
        routing_key=kind,
        body=json.dumps(body, ensure_ascii=False).encode(),
        tag=1,
        session=1,
        type=kind,
        message_id=str(uuid4()),
        content_type="application/json",
        app_id="InventoryService",
        timestamp=datetime.now(UTC).replace(microsecond=0),
        headers=headers,
    )
