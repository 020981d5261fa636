"""Sagas for the tests of the testing kit: one for each pattern that an author writes."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep

SHORTLY = RetryPolicy(max_attempts=3, initial=timedelta(seconds=2))


class Trip(SagaOrchestrator):
    """A parallel stage, and a step after it."""

    saga_type = "Trip"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        booked = ("flight", "hotel", "car")
        stage = [SagaStep(name, f"{name}.Book", f"{name}.Cancel") for name in booked]
        return [[*stage], SagaStep("invoice", "billing.Charge", payload=["flight_no"])]


class Order(SagaOrchestrator):
    """Retries with backoff, a point of no return, and a step that must succeed after it."""

    saga_type = "Order"
    STEP_TIMEOUTS: ClassVar[Mapping[str, timedelta]] = {"reserve": timedelta(minutes=15)}

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            SagaStep("reserve", "stock.Reserve", "stock.Release", compensation_retry=SHORTLY),
            SagaStep("pay", "bank.Pay", retry=SHORTLY, pivot=True, compensation="bank.Refund"),
            SagaStep("ship", "post.Ship", retry=SHORTLY),
        ]


class Ping(SagaOrchestrator):
    """One step that is sent again when nobody answers."""

    saga_type = "Ping"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        if data.get("nothing"):
            return []
        step = SagaStep("ping", "echo.Ping", "echo.Hush", on_timeout="resend", retry=SHORTLY)
        return [step]
