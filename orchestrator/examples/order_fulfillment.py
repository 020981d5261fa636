"""The order saga: reserve, charge, ship, confirm; undone in strict reverse when one fails."""

from datetime import timedelta
from typing import Any

from orchestrator.definition import SagaOrchestrator, SagaStep


class OrderFulfillmentSaga(SagaOrchestrator):
    saga_type = "OrderFulfillment"
    examples = (
        {
            "order_id": "42",
            "customer_id": "C-7",
            "items": [{"sku": "A-1", "quantity": 2, "price": "9.50"}],
            "payment_method": "card",
            "shipping_address": {"street": "1 Quay Street", "city": "Porto"},
        },
    )
    STEP_TIMEOUTS = {"create_shipment": timedelta(minutes=15)}  # noqa: RUF012 - read only

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            SagaStep(
                "reserve_inventory",
                action="InventoryService.ReserveItems",
                compensation="InventoryService.ReleaseReservation",
            ),
            SagaStep(
                "process_payment",
                action="PaymentService.ProcessPayment",
                compensation="PaymentService.RefundPayment",
            ),
            SagaStep(
                "create_shipment",
                action="ShippingService.CreateShipment",
                compensation="ShippingService.CancelShipment",
            ),
            SagaStep(
                "send_confirmation",
                action="NotificationService.SendOrderConfirmation",
                compensation="NotificationService.SendCancellationNotice",
            ),
        ]
