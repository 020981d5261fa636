"""Order sagas for trials in which messages get lost on the way: what is not answered is resent."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import trial_orders

from orchestrator import RetryPolicy, SagaStep

AGAIN = RetryPolicy(
    max_attempts=10, initial=timedelta(milliseconds=100), maximum=timedelta(seconds=1)
)
PATIENCE = timedelta(seconds=3)


class PromptOrderSaga(trial_orders.PromptOrderSaga):
    """Steps and compensations are tried ten times, each for some seconds."""

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps = super().define_steps(data)
        return [
            replace(
                step, timeout=PATIENCE, on_timeout="resend", retry=AGAIN, compensation_retry=AGAIN
            )
            if isinstance(step, SagaStep)
            else step
            for step in steps
        ]


class HastyOrderSaga(trial_orders.HastyOrderSaga):
    """Nobody is waited for longer than a second."""
