"""The matrix: which faults are tried on which steps of which example. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from messaging.contract import Direction
from messaging.errors import NotFound
from orchestrator.registry import Registry
from orchestrator.saga.plan import PlannedStep, RetryPolicy
from orchestrator.testing.drill.definition import Drill
from orchestrator.testing.drill.faults import FAULTS, Fault

_MOST_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run: an example of a saga, and one fault at one step. `step` None: at its start."""

    drill: Drill
    example: str
    plan: tuple[PlannedStep, ...]
    step: str | None
    fault: Fault

    @property
    def name(self) -> str:
        """`BankTransfer/transfer/debit/command-twice`."""
        return "/".join([self.drill.name, self.example, self.step or "(start)", self.fault.name])

    @property
    def data(self) -> Mapping[str, Any]:
        return self.drill.inputs[self.example]

    @property
    def planned(self) -> PlannedStep | None:
        """The step that the fault is about."""
        return next((each for each in self.plan if each.name == self.step), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be tried of it; empty: everything."""

    steps: Sequence[str] = ()
    faults: Sequence[str] = ()
    examples: Sequence[str] = ()


EVERYTHING = Wanted()


class DrilledRegistry(Registry):
    """Plans as an orchestrator makes them, but that nothing is tried more often than five times:
    what fifty attempts show, five do."""

    def plan(self, saga_type: str, data: Mapping[str, Any]) -> tuple[PlannedStep, ...]:
        return tuple(
            replace(
                step,
                retry=_shortened(step.retry),
                compensation_retry=_shortened(step.compensation_retry),
            )
            for step in super().plan(saga_type, data)
        )


def cells_of(drills: Sequence[Drill], wanted: Wanted = EVERYTHING) -> Sequence[Cell]:
    """The cells that can be tried, example by example and step by step.

    Raises DefinitionError for a saga that an orchestrator would refuse, and NotFound for a
    name in `wanted` that no drill knows.
    """
    cells = [cell for drill in drills for cell in _cells_of(drill)]
    _check("step", wanted.steps, {cell.step for cell in cells if cell.step})
    _check("fault", wanted.faults, {fault.name for fault in FAULTS})
    _check("example", wanted.examples, {cell.example for cell in cells})
    return [cell for cell in cells if _is_wanted(cell, wanted)]


def can_be_tried(fault: Fault, step: PlannedStep, drill: Drill) -> bool:
    """Whether there is what the fault is about."""
    if not drill.is_guarded and fault.needs_memory and step.name not in drill.obstacles:
        return False  # a no that the service has not said itself it cannot remember
    return fault.about is Direction.ACTION or (
        fault.about is Direction.COMPENSATION and step.compensation is not None
    )


def _cells_of(drill: Drill) -> Iterator[Cell]:
    registry = DrilledRegistry([drill.definition])
    for example, data in drill.inputs.items():
        plan = registry.plan(drill.name, data)
        for fault in (each for each in FAULTS if each.about is None):
            yield Cell(drill=drill, example=example, plan=plan, step=None, fault=fault)
        for step in plan:
            for fault in (each for each in FAULTS if can_be_tried(each, step, drill)):
                yield Cell(drill=drill, example=example, plan=plan, step=step.name, fault=fault)


def _shortened(policy: RetryPolicy) -> RetryPolicy:
    return replace(policy, max_attempts=min(policy.max_attempts, _MOST_ATTEMPTS))


def _is_wanted(cell: Cell, wanted: Wanted) -> bool:
    return (
        (not wanted.steps or cell.step in wanted.steps)
        and (not wanted.faults or cell.fault.name in wanted.faults)
        and (not wanted.examples or cell.example in wanted.examples)
    )


def _check(kind: str, names: Sequence[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise NotFound(f"there is no {kind} {name!r} to drill; use one of {_listed(known)}")


def _listed(known: set[str]) -> str:
    return ", ".join(sorted(known)) or "none"
