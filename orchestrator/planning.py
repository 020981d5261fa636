"""From a definition to the plan of one saga, and what is wrong with it before there is one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from functools import lru_cache
from inspect import iscoroutinefunction
from typing import Any, Final

from messaging.contract import DESTINATION, participant_of
from messaging.errors import DefinitionError
from orchestrator.definition import SagaOrchestrator, SagaStep
from orchestrator.definition_checks import (
    check_examples,
    check_models,
    check_on_exhausted,
    check_order,
    check_pivot_flag,
    check_saga_type,
    check_step_name,
    checked_compensation,
    checked_destination,
    checked_on_timeout,
    checked_payload,
    checked_policy,
    checked_timeout,
    checked_timeouts,
    shown,
)
from orchestrator.lock_names import checked_names
from orchestrator.lock_names import checked_policy as checked_lock_policy
from orchestrator.mentions import texts_in
from orchestrator.saga.plan import ONCE, OnTimeout, PlannedStep, RetryPolicy

DEFAULT_TIMEOUT: Final = timedelta(minutes=5)
MAX_STEPS: Final = 200
_CONSTRUCTORS: Final = tuple(f"{each.__name__}.__init__()" for each in (SagaStep, RetryPolicy))
_UNCHANGING: Final = (str, int, float, type(None))


def plan_for(definition: SagaOrchestrator, data: Mapping[str, Any]) -> tuple[PlannedStep, ...]:
    """The plan of a saga with this data. Raises DefinitionError naming what is wrong."""
    name = definition.saga_type
    steps = stages_for(definition, data)
    timeouts = tuple(definition.STEP_TIMEOUTS.items())
    try:
        return _known_plan(name, steps, timeouts)
    except TypeError:  # a step has what cannot be looked up, such as a list of keys
        return _plan(name, steps, timeouts)


def stages_for(
    definition: SagaOrchestrator, data: Mapping[str, Any]
) -> "tuple[tuple[int, SagaStep], ...]":
    """The steps of a saga with this data as its author wrote them, each with its stage."""
    name = definition.saga_type
    try:
        stages = definition.define_steps({key: _copy(value) for key, value in data.items()})
    except Exception as error:
        raise DefinitionError(
            f"{name}.define_steps raised {type(error).__name__}: {error}"
        ) from error
    return tuple(_staged(name, stages))


def locks_for(definition: SagaOrchestrator, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The locks of a saga with this data, sorted. Raises DefinitionError."""
    try:
        names = definition.locks({key: _copy(value) for key, value in data.items()})
    except Exception as error:
        raise DefinitionError(
            f"{definition.saga_type}.locks raised {type(error).__name__}: {error}"
        ) from error
    return checked_names(definition.saga_type, names)


def has_locks(definition: SagaOrchestrator) -> bool:
    return type(definition).locks is not SagaOrchestrator.locks


def _plan(
    name: str,
    steps: "tuple[tuple[int, SagaStep], ...]",
    timeouts: tuple[tuple[str, timedelta], ...],
) -> tuple[PlannedStep, ...]:
    pivot_stage = next((stage for stage, step in steps if step.pivot is True), None)
    plan = tuple(
        _planned(name, step, stage, dict(timeouts), _goes_forward(step, stage, pivot_stage))
        for stage, step in steps
    )
    check_order(name, plan)
    return plan


_known_plan: Final = lru_cache(maxsize=512)(_plan)
"""Sagas of one type have few plans among them."""


def _copy(value: Any) -> Any:
    """A deep copy; of what comes from JSON at a tenth of `deepcopy`'s cost."""
    if isinstance(value, _UNCHANGING):
        return value
    if isinstance(value, list):
        return [_copy(item) for item in value]
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return deepcopy(value)


def participants_of(definition: SagaOrchestrator) -> frozenset[str]:
    """The participants that the definition names: in its code, or in a plan without data or
    for an example."""
    texts = texts_in(type(definition))
    found = frozenset(participant_of(text) for text in texts if DESTINATION.fullmatch(text))
    for data in ({}, *definition.examples):
        with suppress(DefinitionError):
            found |= participants_of_plan(plan_for(definition, data))
    return found


def participants_of_plan(plan: Sequence[PlannedStep]) -> frozenset[str]:
    destinations = [
        destination for step in plan for destination in (step.action, step.compensation)
    ]
    return frozenset(participant_of(name) for name in destinations if name is not None)


def check_definition(definition: SagaOrchestrator) -> None:
    """Refuse what can be seen to be wrong without a saga's data."""
    name = type(definition).__name__
    check_saga_type(name, definition.saga_type)
    check_on_exhausted(name, definition.on_compensation_exhausted)
    checked_lock_policy(name, definition.on_locked)
    if iscoroutinefunction(definition.define_steps):
        raise DefinitionError(f"{name}.define_steps is `async def`; write `def define_steps`")
    timeouts = checked_timeouts(definition.saga_type, definition.STEP_TIMEOUTS)
    plan = _plan_without_data(definition)
    if plan is not None:
        _check_timeouts_name_steps(definition, timeouts, plan)
    check_models(name, input=definition.input)
    for data in check_examples(name, definition.examples):
        plan_for(definition, data)


def _plan_without_data(definition: SagaOrchestrator) -> tuple[PlannedStep, ...] | None:
    """It shows most mistakes; a definition that needs data is checked when a saga starts."""
    try:
        definition.define_steps({})
    except (NotImplementedError, NameError) as error:
        raise DefinitionError(f"{definition.saga_type}.define_steps: {error}") from error
    except Exception as error:
        if str(error).startswith(_CONSTRUCTORS):  # a misspelt keyword is no matter of data
            raise DefinitionError(f"{definition.saga_type}.define_steps: {error}") from error
        return None
    return plan_for(definition, {})


def _check_timeouts_name_steps(
    definition: SagaOrchestrator,
    timeouts: Mapping[str, timedelta],
    plan: Sequence[PlannedStep],
) -> None:
    """A step that the plan does not have without data must at least be mentioned somewhere."""
    known = {step.name for step in plan} | texts_in(type(definition))
    for step in timeouts:
        if step not in known:
            names = ", ".join(planned.name for planned in plan)
            raise DefinitionError(
                f"{definition.saga_type}.STEP_TIMEOUTS has {step!r}, and there is no such step; "
                f"use one of {names}, or give the step its timeout= where it is made"
            )


def _staged(saga_type: str, stages: object) -> "list[tuple[int, SagaStep]]":
    """Each step with the number of its stage; empty stages do not count."""
    if not isinstance(stages, list | tuple):
        raise DefinitionError(
            f"{saga_type}.define_steps returned {shown(stages)}; return a list of SagaSteps"
        )
    filled = [stage for stage in stages if not _is_list(stage) or stage]
    if not filled:
        raise DefinitionError(f"{saga_type}.define_steps returned no step; return at least one")
    found = []
    for number, stage in enumerate(filled):
        for step in stage if _is_list(stage) else [stage]:
            if not isinstance(step, SagaStep):
                raise DefinitionError(
                    f"{saga_type}.define_steps returned {shown(step)}; "
                    "every step is a SagaStep, or a list of them for a parallel stage"
                )
            found.append((number, step))
    if len(found) > MAX_STEPS:
        raise DefinitionError(
            f"{saga_type} has {len(found)} steps; at most {MAX_STEPS} are possible"
        )
    return found


def _is_list(stage: object) -> bool:
    return isinstance(stage, list | tuple)


def _goes_forward(step: SagaStep, stage: int, pivot_stage: int | None) -> bool:
    """There is no way back once it may have happened: it is tried again until it succeeds."""
    is_final_pivot = step.pivot is True and step.compensation is None
    return is_final_pivot or (pivot_stage is not None and stage > pivot_stage)


def _planned(
    saga_type: str, step: SagaStep, stage: int, timeouts: Mapping[str, timedelta], forward: bool
) -> PlannedStep:
    check_step_name(saga_type, step.name)
    where = f"{saga_type}.{step.name}"
    check_pivot_flag(where, step.pivot)
    on_timeout = checked_on_timeout(where, step.on_timeout)
    resends = forward or on_timeout is OnTimeout.RESEND
    usual = RetryPolicy() if resends else ONCE
    timeout = timeouts.get(step.name, DEFAULT_TIMEOUT) if step.timeout is None else step.timeout
    check_models(where, command=step.command, result=step.result)
    undoing = checked_policy(where, "compensation_retry", step.compensation_retry)
    return PlannedStep(
        name=step.name,
        stage=stage,
        action=checked_destination(where, "action", step.action),
        compensation=checked_compensation(where, step.compensation),
        timeout=checked_timeout(where, timeout),
        retry=checked_policy(where, "retry", step.retry) or usual,
        compensation_retry=undoing or RetryPolicy(),
        on_timeout=OnTimeout.RESEND if resends else OnTimeout.COMPENSATE,
        payload=checked_payload(where, step.payload),
        pivot=step.pivot,
    )
