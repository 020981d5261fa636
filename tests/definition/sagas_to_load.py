"""A module of definitions, as a saga author has one."""

from typing import Any

from orchestrator.definition import SagaOrchestrator, SagaStep


class Flight(SagaOrchestrator):
    saga_type = "Flight"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [SagaStep("book", "Flights.Book")]


class Hotel(SagaOrchestrator):
    saga_type = "Hotel"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [SagaStep("book", "Hotels.Book")]


NOT_A_DEFINITION = 7
