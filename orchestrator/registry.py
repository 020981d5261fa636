"""The saga definitions that a worker knows, by saga type, and where they are loaded from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chassis.modules import imported
from messaging.errors import ConfigurationError, DefinitionError, SagaError
from orchestrator.definition import SagaOrchestrator
from orchestrator.lock_names import checked_policy
from orchestrator.planning import check_definition, has_locks, locks_for, participants_of, plan_for
from orchestrator.saga.locking import LockPolicy
from orchestrator.saga.plan import OnExhausted, PlannedStep


class Registry:
    """Definitions, checked when they are registered. Raises DefinitionError."""

    def __init__(self, definitions: Iterable[SagaOrchestrator] = ()) -> None:
        self._by_type: dict[str, SagaOrchestrator] = {}
        self.locking: frozenset[str] = frozenset()  # types whose sagas may have locks
        for definition in definitions:
            self.register(definition)

    def register(self, definition: SagaOrchestrator) -> None:
        check_definition(definition)
        known = self._by_type.get(definition.saga_type)
        if known is not None and type(known) is not type(definition):
            raise DefinitionError(
                f"saga_type {definition.saga_type!r} is defined by both "
                f"{_name_of(known)} and {_name_of(definition)}; rename one"
            )
        self._by_type[definition.saga_type] = definition
        if has_locks(definition):
            self.locking |= {definition.saga_type}

    def __contains__(self, saga_type: str) -> bool:
        return saga_type in self._by_type

    @property
    def saga_types(self) -> frozenset[str]:
        return frozenset(self._by_type)

    @property
    def definitions(self) -> Sequence[SagaOrchestrator]:
        return tuple(self._by_type.values())

    @property
    def participants(self) -> frozenset[str]:
        """Every participant that a definition names."""
        return frozenset().union(*(participants_of(known) for known in self._by_type.values()))

    def plan(self, saga_type: str, data: Mapping[str, Any]) -> tuple[PlannedStep, ...]:
        """The plan for a saga of a known type. Raises DefinitionError."""
        return plan_for(self._by_type[saga_type], data)

    def locks(self, saga_type: str, data: Mapping[str, Any]) -> tuple[str, ...]:
        """The locks of a saga of a known type, sorted. Raises DefinitionError."""
        return locks_for(self._by_type[saga_type], data)

    def lock_policy(self, saga_type: str) -> LockPolicy:
        return checked_policy(saga_type, self._by_type[saga_type].on_locked)

    def on_exhausted(self, saga_type: str) -> OnExhausted:
        return OnExhausted(self._by_type[saga_type].on_compensation_exhausted)


def load_definitions(targets: Sequence[str]) -> Registry:
    """The definitions named by `MODULE` or `MODULE:CLASS`, with the current directory on the path.

    Raises ConfigurationError for what cannot be imported or is not there, DefinitionError for
    a definition that is wrong.
    """
    registry = Registry()
    for target in targets:
        for definition in _load(target):
            registry.register(definition)
    return registry


def mistakes_in(target: str) -> Sequence[SagaError]:
    """What is wrong with each of the definitions that `MODULE` or `MODULE:CLASS` names."""
    registry = Registry()
    mistakes: list[SagaError] = []
    try:
        for definition in _load(target):
            try:
                registry.register(definition)
            except DefinitionError as error:
                mistakes.append(error)
    except SagaError as error:
        mistakes.append(error)
    return mistakes


def _load(target: str) -> Iterator[SagaOrchestrator]:
    name, _, attribute = target.partition(":")
    module = imported(name)
    if attribute:
        found: Any = getattr(module, attribute, None)
        if not _is_definition(found):
            raise ConfigurationError(
                f"{target}: {attribute!r} is no SagaOrchestrator subclass in {name}"
            )
        yield _made(found)
        return
    classes = [each for each in vars(module).values() if _is_definition(each)]
    own = [each for each in classes if each.__module__ == module.__name__]
    if not own:
        raise ConfigurationError(
            f"{name} defines no SagaOrchestrator subclass; name a module that does, or MODULE:CLASS"
        )
    for each in own:
        yield _made(each)


def _made(definition: type[SagaOrchestrator]) -> SagaOrchestrator:
    try:
        return definition()
    except Exception as error:
        raise DefinitionError(
            f"{definition.__qualname__}() raised {type(error).__name__}: {error}; "
            "a definition is made without arguments"
        ) from error


def _name_of(definition: SagaOrchestrator) -> str:
    return f"{type(definition).__module__}.{type(definition).__qualname__}"


def _is_definition(found: object) -> bool:
    return (
        isinstance(found, type)
        and issubclass(found, SagaOrchestrator)
        and found is not SagaOrchestrator
    )
