"""Which definitions a worker knows, and how it is told."""

from pathlib import Path

import pytest
from definitions import define

from messaging.errors import ConfigurationError, DefinitionError
from orchestrator.definition import SagaStep
from orchestrator.registry import Registry, load_definitions
from orchestrator.saga.plan import OnExhausted

OK = SagaStep("book", "Flights.Book")


@pytest.fixture(autouse=True)
def beside_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)


def test_a_module_stands_for_every_definition_in_it() -> None:
    registry = load_definitions(["sagas_to_load"])
    assert registry.saga_types == {"Flight", "Hotel"}
    assert registry.participants == {"Flights", "Hotels"}


def test_a_name_in_a_module_stands_for_one() -> None:
    registry = load_definitions(["sagas_to_load:Hotel"])
    assert registry.saga_types == {"Hotel"}
    assert "Flight" not in registry


def test_what_is_imported_into_a_module_is_not_defined_in_it() -> None:
    with pytest.raises(ConfigurationError, match="defines no SagaOrchestrator subclass"):
        load_definitions(["orchestrator.registry"])


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'sagas_elsewhere'"):
        load_definitions(["sagas_elsewhere"])


@pytest.mark.parametrize("name", ["Nothing", "NOT_A_DEFINITION", "SagaOrchestrator"])
def test_what_is_no_definition_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is no SagaOrchestrator subclass"):
        load_definitions([f"sagas_to_load:{name}"])


def test_a_definition_that_cannot_be_made_is_named() -> None:
    with pytest.raises(DefinitionError, match=r"Airline\(\) raised TypeError.*made without"):
        load_definitions(["saga_with_arguments"])


def test_the_same_definition_may_be_named_twice() -> None:
    registry = load_definitions(["sagas_to_load", "sagas_to_load:Flight"])
    assert len(registry.definitions) == 2


def test_two_definitions_of_one_saga_type_are_refused() -> None:
    first, second = define([OK], __module__="air"), define([OK], __module__="sea")
    message = r"'Trip' is defined by both air\.Trip and sea\.Trip; rename one"
    with pytest.raises(DefinitionError, match=message):
        Registry([first, second])


def test_the_registry_plans_and_knows_what_becomes_of_exhausted_compensations() -> None:
    registry = Registry([define([OK], on_compensation_exhausted="continue")])
    assert registry.on_exhausted("Trip") is OnExhausted.CONTINUE
    assert [step.name for step in registry.plan("Trip", {})] == ["book"]
