"""The shop's order: which steps it has depends on it, and what has left the house comes back."""

from datetime import timedelta
from typing import Any, Final

from orchestrator.definition import SagaOrchestrator, SagaStep

CHECKED_FROM_CENTS: Final = 50_000

CHECK_RISK: Final = SagaStep("check_risk", action="RiskService.Check")
TAKE_STOCK: Final = SagaStep(
    "take_stock", action="StockService.Take", compensation="StockService.PutBack"
)
REDEEM_VOUCHER: Final = SagaStep(
    "redeem_voucher", action="VoucherService.Redeem", compensation="VoucherService.Restore"
)
CHARGE: Final = SagaStep("charge", action="TillService.Charge", compensation="TillService.Refund")
SHIP: Final = SagaStep(
    "ship",
    action="ParcelService.Ship",
    compensation="ParcelService.RecallOrReturn",
    timeout=timedelta(days=30),  # in both directions: a parcel takes weeks to come back
)
SEND_DOWNLOAD: Final = SagaStep(
    "send_download", action="DownloadService.Send", compensation="DownloadService.Revoke"
)
# Nothing takes an invoice back: if its answer is not heard, it is asked for again.
ISSUE_INVOICE: Final = SagaStep("issue_invoice", action="InvoiceService.Issue", pivot=True)


class ShopOrderSaga(SagaOrchestrator):
    saga_type = "ShopOrder"
    examples = (
        {"article": "lamp", "quantity": 2, "unit_cents": 1_990, "limit_cents": 90_000},
        {
            "article": "lamp",
            "quantity": 50,
            "unit_cents": 1_990,
            "limit_cents": 190_000,
            "voucher": "V-1",
            "tax_number": "DE-811",
        },
        {
            "article": "manual",
            "quantity": 1,
            "unit_cents": 990,
            "limit_cents": 90_000,
            "is_digital": True,
        },
    )

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        is_digital = bool(data.get("is_digital"))
        worth = data.get("quantity", 0) * data.get("unit_cents", 0)
        choice = [
            (CHECK_RISK, worth >= CHECKED_FROM_CENTS),
            (TAKE_STOCK, not is_digital),
            (REDEEM_VOUCHER, "voucher" in data),
            (CHARGE, True),
            (SHIP, not is_digital),
            (SEND_DOWNLOAD, is_digital),
            (ISSUE_INVOICE, "tax_number" in data),
        ]
        return [step for step, is_wanted in choice if is_wanted]
