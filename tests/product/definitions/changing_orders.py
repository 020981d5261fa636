"""An order saga in two releases, of which SAGA_TEST_RELEASE names the one that is deployed."""

import os
from dataclasses import replace
from typing import Any

from trial_orders import EagerOrderSaga, PromptOrderSaga

from orchestrator import SagaStep

_IS_SECOND = os.environ.get("SAGA_TEST_RELEASE") == "2"
_RELEASE = EagerOrderSaga if _IS_SECOND else PromptOrderSaga
_KEYS = ("order_id", "customer_id", "items", "fail_at", "fail_compensation", "delay")


class ChangingOrderSaga(_RELEASE):  # type: ignore[misc, valid-type]
    """The second confirms before it ships, and tells each service less."""

    saga_type = "ChangingOrder"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps = super().define_steps(data)
        if not _IS_SECOND:
            return steps
        return [
            replace(step, payload=list(_KEYS)) if isinstance(step, SagaStep) else step
            for step in steps
        ]
