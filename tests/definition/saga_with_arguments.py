"""A definition that cannot be made as a worker makes it."""

from orchestrator.definition import SagaOrchestrator


class Airline(SagaOrchestrator):
    saga_type = "Airline"

    def __init__(self, name: str) -> None:
        self.name = name
