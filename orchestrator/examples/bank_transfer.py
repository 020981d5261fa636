"""The bank transfer: debit, record, credit, notify. Once the money has arrived, it stays there."""

from datetime import timedelta
from typing import Any

from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep


class BankTransferSaga(SagaOrchestrator):
    saga_type = "BankTransfer"
    examples = ({"from_account": "alice", "to_account": "bob", "amount_cents": 1500},)

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            SagaStep(
                "debit",
                action="AccountService.Debit",
                compensation="AccountService.ReverseDebit",
            ),
            SagaStep(
                "record",
                action="LedgerService.RecordTransfer",
                compensation="LedgerService.ReverseTransfer",
            ),
            # Nobody takes money back that its owner may have spent: no compensation.
            SagaStep("credit", action="AccountService.Credit", pivot=True),
            SagaStep(
                "notify",
                action="BankNotices.Notify",
                payload=["to_account", "amount_cents"],
                retry=RetryPolicy(max_attempts=20, maximum=timedelta(hours=1)),
            ),
        ]
