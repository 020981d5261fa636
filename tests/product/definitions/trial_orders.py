"""Order sagas for trials: compensations retried within a second, and steps that time out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from orchestrator import RetryPolicy, SagaStep
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga

SOON = RetryPolicy(
    max_attempts=5, initial=timedelta(milliseconds=100), maximum=timedelta(seconds=5)
)
ONCE = RetryPolicy(max_attempts=1)


class PromptOrderSaga(OrderFulfillmentSaga):
    """What fails is tried again soon."""

    saga_type = "PromptOrder"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps = super().define_steps(data)
        return [
            replace(step, compensation_retry=SOON) if isinstance(step, SagaStep) else step
            for step in steps
        ]


class HastyOrderSaga(PromptOrderSaga):
    """Nobody is waited for longer than a second: what is late is undone while it is done."""

    saga_type = "HastyOrder"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps = super().define_steps(data)
        return [
            replace(step, timeout=timedelta(seconds=1)) if isinstance(step, SagaStep) else step
            for step in steps
        ]


class EagerOrderSaga(PromptOrderSaga):
    """The customer hears of the order before it is shipped: a notice that may have to be undone."""

    saga_type = "EagerOrder"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        reserve, pay, ship, confirm = super().define_steps(data)
        return [reserve, pay, confirm, ship]


class FrailOrderSaga(OrderFulfillmentSaga):
    """A compensation is tried once: what fails is the DLQ worker's at once."""

    saga_type = "FrailOrder"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            replace(step, compensation_retry=ONCE) if isinstance(step, SagaStep) else step
            for step in super().define_steps(data)
        ]
