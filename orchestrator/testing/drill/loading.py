"""From modules on a command line to what is drilled."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from chassis.modules import imported
from messaging.errors import ConfigurationError
from orchestrator.definition import SagaOrchestrator
from orchestrator.registry import load_definitions
from orchestrator.testing.drill.definition import Drill
from participants.participant import Participant

Inputs = Mapping[str, Mapping[str, Any]]


def load_drills(
    targets: Sequence[str], inputs: Inputs | None = None, *, is_guarded: bool = True
) -> Sequence[Drill]:
    """The drills in the modules. Where there is none, each saga in them is drilled with all
    services in them, with the data of `inputs`, or else of its own examples.

    Raises ConfigurationError for what cannot be imported or is not there, DefinitionError for
    a definition or a drill that is wrong.
    """
    found = list(dict.fromkeys(each for target in targets for each in _drills_in(target)))
    drills = found or _made_of(targets, inputs or {})
    changed = [replace(each, inputs=inputs) for each in drills] if inputs else drills
    return changed if is_guarded else [replace(each, is_guarded=False) for each in changed]


def _drills_in(target: str) -> Sequence[Drill]:
    name, colon, attribute = target.partition(":")
    module = imported(name)
    if not colon:
        return [each for each in vars(module).values() if isinstance(each, Drill)]
    named = getattr(module, attribute, None)
    if named is None:
        raise ConfigurationError(f"{target}: there is no {attribute!r} in {name}")
    return [named] if isinstance(named, Drill) else []


def _made_of(targets: Sequence[str], inputs: Inputs) -> Sequence[Drill]:
    sagas = [target for target in targets if _has_saga(target)]
    if not sagas:
        raise ConfigurationError(
            f"{', '.join(targets)}: there is no Drill in it, and no saga; name a module that has"
            " a Drill, or modules with a saga and its services"
        )
    services = [each for target in targets for each in _found_in(target, Participant)]
    return [
        Drill(saga=each, services=list(dict.fromkeys(services)), inputs=inputs or _examples(each))
        for each in load_definitions(sagas).definitions
    ]


def _examples(definition: SagaOrchestrator) -> Inputs:
    if not definition.examples:
        raise ConfigurationError(
            f"{definition.saga_type}: with which data is it to be drilled? Declare examples, give"
            " --data, or write a Drill: docs/guides/drilling-a-saga.md"
        )
    return {f"example {number}": data for number, data in enumerate(definition.examples, 1)}


def _has_saga(target: str) -> bool:
    module = imported(target.partition(":")[0])
    kinds = [each for each in _found_in(target, type) if issubclass(each, SagaOrchestrator)]
    return any(":" in target or each.__module__ == module.__name__ for each in kinds)


def _found_in(target: str, kind: type[Any]) -> Sequence[Any]:
    name, colon, attribute = target.partition(":")
    known = vars(imported(name))
    found = [known.get(attribute)] if colon else known.values()
    return [each for each in found if isinstance(each, kind)]
