"""The sagas that are measured: `saga orchestrator run bench.sagas`.

`Do` succeeds, `Refuse` fails for good and without effect, `Undo` compensates. The names of the
steps are unique among all of them, so that a null orchestrator needs no state to go on.
"""

from typing import Any, ClassVar, Final

from orchestrator.definition import SagaOrchestrator, SagaStep

PARTICIPANTS: Final = ("BenchA", "BenchB", "BenchC", "BenchD")


def _step(prefix: str, participant: str, action: str = "Do") -> SagaStep:
    return SagaStep(
        f"{prefix}_{participant[-1].lower()}",
        action=f"{participant}.{action}",
        compensation=f"{participant}.Undo",
    )


class Line(SagaOrchestrator):
    """Four steps, one after the other."""

    saga_type = "BenchLine"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [_step("line", each) for each in PARTICIPANTS]


class Back(SagaOrchestrator):
    """The last of four steps fails: three compensations."""

    saga_type = "BenchBack"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        *first, last = PARTICIPANTS
        return [*(_step("back", each) for each in first), _step("back", last, "Refuse")]


class Parallel(SagaOrchestrator):
    """Two stages of two steps each."""

    saga_type = "BenchParallel"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps = [_step("parallel", each) for each in PARTICIPANTS]
        return [steps[:2], steps[2:]]


SAGAS: Final[tuple[SagaOrchestrator, ...]] = (Line(), Back(), Parallel())


class Messages:
    """How many messages cross the broker for one saga: its start, all between, its outcome."""

    BY_TYPE: ClassVar[dict[str, int]] = {"BenchLine": 10, "BenchBack": 16, "BenchParallel": 10}
