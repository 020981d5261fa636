"""Short ways to a definition."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from orchestrator.definition import SagaOrchestrator
from orchestrator.planning import plan_for
from orchestrator.saga.plan import PlannedStep


def define(
    steps: Any, *, timeouts: Mapping[str, timedelta] | None = None, **attributes: Any
) -> SagaOrchestrator:
    """A definition that always returns these steps."""
    body = {
        "saga_type": "Trip",
        "STEP_TIMEOUTS": timeouts or {},
        "define_steps": lambda _self, _data: steps,
        **attributes,
    }
    return cast("SagaOrchestrator", type("Trip", (SagaOrchestrator,), body)())


def plan_of(*steps: Any) -> tuple[PlannedStep, ...]:
    return plan_for(define(list(steps)), {})
