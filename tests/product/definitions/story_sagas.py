"""A saga whose participants nobody runs: what is said to it is all that ever happens to it."""

from typing import Any

from orchestrator import SagaOrchestrator, SagaStep


class StorySaga(SagaOrchestrator):
    """Three steps; the last one is another participant's."""

    saga_type = "Story"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [
            SagaStep("first", "StoryService.First", "StoryService.UndoFirst"),
            SagaStep("second", "StoryService.Second", "StoryService.UndoSecond"),
            SagaStep("foreign", "ForeignService.Third", "ForeignService.UndoThird"),
        ]
