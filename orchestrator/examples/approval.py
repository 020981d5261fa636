"""The purchase that a person approves: the money is set aside, somebody answers days later."""

from datetime import timedelta
from typing import Any

from orchestrator.definition import SagaOrchestrator, SagaStep


class ApprovalSaga(SagaOrchestrator):
    saga_type = "Approval"
    examples = (
        {"department": "office", "subject": "a lamp", "cents": 4_900, "supplier": "Lamps & Co."},
    )

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            SagaStep(
                "set_aside",
                action="BudgetService.SetAside",
                compensation="BudgetService.GiveBack",
            ),
            SagaStep(
                "approve",
                action="ApprovalService.Ask",
                compensation="ApprovalService.Withdraw",
                timeout=timedelta(days=data.get("days_to_answer", 14)),
            ),
            # An order cannot be taken back: if its answer is not heard, it is asked for again.
            SagaStep("order", action="PurchaseService.Order", pivot=True),
        ]
