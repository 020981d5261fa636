"""Order sagas for trials in which messages are lost for good: no step is waited for long."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import trial_orders

from orchestrator import SagaStep

PATIENCE = timedelta(seconds=12)


class PromptOrderSaga(trial_orders.PromptOrderSaga):
    """What is not answered within some seconds is undone, if it was done."""

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps = super().define_steps(data)
        return [
            replace(step, timeout=PATIENCE) if isinstance(step, SagaStep) else step
            for step in steps
        ]


class HastyOrderSaga(trial_orders.HastyOrderSaga):
    """Nobody is waited for longer than a second."""
