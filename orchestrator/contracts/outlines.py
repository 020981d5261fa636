"""A definition laid out: its plan for each of its examples, or for data that somebody gives."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from messaging.errors import DefinitionError
from orchestrator.definition import SagaOrchestrator, SagaStep
from orchestrator.planning import plan_for, stages_for
from orchestrator.registry import Registry
from orchestrator.saga.plan import PlannedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One plan of a definition, and the examples that have it."""

    title: str  # "example 2"; empty if there is only one
    data: tuple[Mapping[str, Any], ...]
    plan: tuple[PlannedStep, ...]
    steps: tuple[SagaStep, ...]  # as the author wrote them, in the order of the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What can be known of a definition without a saga."""

    saga_type: str
    definition: SagaOrchestrator
    layouts: tuple[Layout, ...]  # none: its steps depend on data, and there is no example
    is_exemplary: bool  # the data come from examples, and not from nowhere
    problem: str | None = None  # why there is no layout


def outlines_of(registry: Registry, given: Sequence[Mapping[str, Any]] = ()) -> tuple[Outline, ...]:
    """One outline for each definition, by type; `given` data take the place of the examples."""
    definitions = sorted(registry.definitions, key=lambda each: each.saga_type)
    return tuple(outline_of(each, given) for each in definitions)


def outline_of(definition: SagaOrchestrator, given: Sequence[Mapping[str, Any]] = ()) -> Outline:
    """Its plan for the given data, for its examples, or for no data at all."""
    data = [*given] or [*definition.examples]
    try:
        layouts = tuple(_layouts(definition, data or [{}]))
        problem = None
    except DefinitionError as error:
        if given:
            raise
        layouts, problem = (), f"{error}; declare examples, or give --data"
    return Outline(
        saga_type=definition.saga_type,
        definition=definition,
        layouts=layouts,
        is_exemplary=bool(data),
        problem=problem,
    )


def _layouts(
    definition: SagaOrchestrator, examples: Iterable[Mapping[str, Any]]
) -> Iterator[Layout]:
    """Examples with the same plan are one layout."""
    found: dict[tuple[PlannedStep, ...], list[tuple[int, Mapping[str, Any]]]] = {}
    for number, data in enumerate(examples, 1):
        found.setdefault(plan_for(definition, data), []).append((number, data))
    for plan, members in found.items():
        numbers = ", ".join(str(number) for number, _ in members)
        data_of_plan = tuple(data for _, data in members)
        yield Layout(
            title="" if len(found) == 1 else f"example {numbers}",
            data=data_of_plan,
            plan=plan,
            steps=tuple(step for _, step in stages_for(definition, data_of_plan[0])),
        )


def stages_of(plan: Sequence[PlannedStep]) -> tuple[tuple[PlannedStep, ...], ...]:
    """The plan's stages in order; those with several steps run in parallel."""
    numbers = sorted({step.stage for step in plan})
    return tuple(tuple(step for step in plan if step.stage == number) for number in numbers)
