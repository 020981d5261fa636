"""Handlers are checked when they are registered, by messages that name what is wrong."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from participants import Context, DefinitionError, Participant


class Order(BaseModel):
    order_id: str


class StrictOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")


@pytest.fixture
def service() -> Participant:
    return Participant("TestService")


@pytest.mark.parametrize("name", ["", "Has.Dot", "9lives", "a b", "x" * 101, None, "naïve"])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="is no participant name"):
        Participant(name)


@pytest.mark.parametrize("name", ["", "A.B", "*"])
def test_a_bad_command_name_is_refused(service: Participant, name: str) -> None:
    with pytest.raises(DefinitionError, match="is no command name"):
        service.action(name)


def test_a_model_and_a_dict_are_welcome(service: Participant) -> None:
    @service.action("Model")
    async def with_model(command: Order, context: Context) -> None: ...

    @service.action("Dict")
    async def with_dict(command: dict[str, Any], context: Context) -> None: ...

    @service.compensation("Sync")
    def in_a_thread(command: dict, context: Context) -> None: ...  # type: ignore[type-arg]

    assert service.handlers["Model"].model is Order
    assert service.handlers["Dict"].model is None
    assert list(service.handlers) == ["Model", "Dict", "Sync"]


def test_an_annotation_in_quotes_is_read(service: Participant) -> None:
    @service.action("Quoted")
    async def quoted(command: "Order", context: "Context") -> None: ...

    assert service.handlers["Quoted"].model is Order


def test_an_annotation_in_quotes_that_means_nothing_is_refused(service: Participant) -> None:
    async def lost(command: "Nowhere", context: Context) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(DefinitionError, match="Nowhere"):
        service.action("Lost")(lost)


def test_two_handlers_for_one_command_are_refused(service: Participant) -> None:
    @service.action("Act")
    async def first(command: Order, context: Context) -> None: ...

    with pytest.raises(DefinitionError, match="two handlers for 'Act'"):

        @service.compensation("Act")
        async def second(command: Order, context: Context) -> None: ...


def test_wrong_parameters_are_refused(service: Participant) -> None:
    async def alone(command: Order) -> None: ...

    async def crowded(command: Order, context: Context, more: int) -> None: ...

    async def starred(*arguments: Any) -> None: ...

    for function in (alone, crowded, starred):
        with pytest.raises(DefinitionError, match=r"exactly \(command, context\)"):
            service.action("Act")(function)


def test_a_command_without_an_annotation_is_refused(service: Participant) -> None:
    async def silent(command, context):  # type: ignore[no-untyped-def]
        ...

    with pytest.raises(DefinitionError, match=r"TestService: .* no annotation of command"):
        service.action("Act")(silent)


@pytest.mark.parametrize("annotation", [int, list[int], "Order | None", Any])
def test_an_unknown_annotation_is_refused(service: Participant, annotation: Any) -> None:
    async def odd(command: Order, context: Context) -> None: ...

    odd.__annotations__["command"] = annotation
    with pytest.raises(DefinitionError, match="use a pydantic model or dict"):
        service.action("Act")(odd)


def test_a_model_that_forbids_the_sagas_other_data_is_refused(service: Participant) -> None:
    async def strict(command: StrictOrder, context: Context) -> None: ...

    with pytest.raises(DefinitionError, match="forbids extra fields"):
        service.action("Act")(strict)


def test_something_that_cannot_be_called_is_refused(service: Participant) -> None:
    with pytest.raises(DefinitionError, match="is no function"):
        service.action("Act")(42)  # type: ignore[type-var]
