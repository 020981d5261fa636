"""What is known of a saga's data on its way: examples, models, results, and what is missing."""

from typing import Any

import pytest
from contract_sagas import CHARGE, MAIL, ORDER, Charge, Receipt, agreed, define, outlined
from pydantic import BaseModel

from messaging.errors import DefinitionError
from orchestrator.contracts.agreements import unmet
from orchestrator.contracts.handled import handled_by
from orchestrator.contracts.schemas import guessed, joined, sample_of, schema_of
from orchestrator.definition import SagaStep
from orchestrator.registry import Registry
from participants import Context, Participant


class Node(BaseModel):
    name: str
    children: list["Node"] = []


def service() -> Participant:
    till = Participant("Till")

    @till.action("Charge")
    async def charge(command: Charge, context: Context) -> Receipt:
        raise NotImplementedError

    @till.compensation("Refund")
    async def refund(command: dict[str, Any], context: Context) -> None:
        raise NotImplementedError

    return till


def test_later_steps_see_what_earlier_ones_answer() -> None:
    mail = agreed(define(CHARGE, SagaStep("mail", "Mail.Send")))["Mail.Send"]
    assert mail.carries.sure == {"order_id", "cents", "receipt"}
    assert mail.carries.is_complete
    assert mail.examples == ({**ORDER, "receipt": "receipt"},)


def test_an_undeclared_result_leaves_it_open_what_later_steps_carry() -> None:
    plain = SagaStep("charge", "Till.Charge")
    mail = agreed(define(plain, SagaStep("mail", "Mail.Send")))["Mail.Send"]
    assert mail.carries.sure == {"order_id", "cents"}
    assert not mail.carries.is_complete


def test_a_handler_says_what_its_step_does_not() -> None:
    steps = (SagaStep("charge", "Till.Charge", "Till.Refund"), SagaStep("mail", "Mail.Send"))
    found = agreed(define(*steps), handled=handled_by([service()]))
    assert "receipt" in found["Mail.Send"].carries.sure
    assert found["Till.Charge"].carries.known["cents"]["type"] == "integer"


def test_results_of_a_parallel_stage_are_there_for_the_next_one() -> None:
    beside = SagaStep("mail", "Mail.Send")
    found = agreed(define([CHARGE, beside], SagaStep("book", "Ledger.Book")))
    assert "receipt" not in found["Mail.Send"].carries.known
    assert "receipt" in found["Ledger.Book"].carries.known


def test_a_field_of_some_examples_is_not_always_there() -> None:
    examples = (ORDER, {**ORDER, "voucher": "V-1"})
    charge = agreed(define(SagaStep("charge", "Till.Charge"), examples=examples))["Till.Charge"]
    assert set(charge.carries.known) == {"order_id", "cents", "voucher"}
    assert charge.carries.sure == {"order_id", "cents"}
    assert len(charge.examples) == 2


def test_an_input_model_says_what_every_saga_starts_with() -> None:
    definition = define(SagaStep("charge", "Till.Charge"), input=Charge, examples=())
    assert agreed(definition)["Till.Charge"].carries.known["cents"]["type"] == "integer"


def test_examples_with_one_plan_are_one_layout() -> None:
    [outline] = outlined(define(CHARGE, examples=(ORDER, {**ORDER, "cents": 1})))
    assert [(each.title, len(each.data)) for each in outline.layouts] == [("", 2)]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ((MAIL,), "Sale.mail: its command needs 'receipt', which the data before it never have"),
        (
            (SagaStep("mail", "Mail.Send", payload=["order_id", "colour"]),),
            "Sale.mail: payload lists 'colour', which neither the data nor a result has",
        ),
    ],
)
def test_what_nobody_gives_is_said(steps: tuple[SagaStep, ...], sentence: str) -> None:
    [outline] = outlined(define(*steps))
    assert list(unmet(outline)) == [sentence]


def test_nothing_is_said_of_what_is_given_or_cannot_be_known() -> None:
    for definition in (define(CHARGE, MAIL), define(SagaStep("a", "A.B"), MAIL)):
        [outline] = outlined(definition)
        assert list(unmet(outline)) == []


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"examples": {"order_id": "42"}}, r"Sale\.examples is .*; list the data of sagas"),
        ({"examples": "abc"}, r"Sale\.examples is 'abc'; list the data of sagas, each a dict"),
        ({"examples": (1,)}, r"Sale\.examples is \(1,\); list the data of sagas"),
        ({"input": Charge(order_id="1", cents=1)}, r"Sale: input is .*; use a pydantic model's"),
    ],
)
def test_wrong_examples_and_models_are_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Registry([define(CHARGE, **attributes)])


def test_an_example_without_a_plan_is_refused() -> None:
    picky = define(define_steps=lambda _self, data: [CHARGE] if "cents" not in data else [])
    with pytest.raises(DefinitionError, match=r"Sale\.define_steps returned no step"):
        Registry([picky])


def test_a_step_with_no_model_where_one_is_due_is_refused() -> None:
    step: Any = SagaStep("charge", "Till.Charge", command={"order_id": str})  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match=r"Sale\.charge: command is .*; use a pydantic"):
        Registry([define(step)])


def test_queues_are_known_of_participants_that_only_an_example_has() -> None:
    made_up = define(
        define_steps=lambda _self, data: [SagaStep("a", f"{data.get('who', 'Nobody')}.Do")],
        examples=({"who": "Carrier"},),
    )
    assert Registry([made_up]).participants == {"Nobody", "Carrier"}


def test_a_model_within_itself_has_a_schema_without_references() -> None:
    schema = schema_of(Node, sent=False)
    assert "$ref" not in str(schema)
    assert schema["properties"]["children"]["items"] == {"title": "Node"}


@pytest.mark.parametrize("value", [1, 1.5, True, "x", None, [1, 2], [], {"a": {"b": [None]}}])
def test_a_guess_takes_the_example_that_it_was_made_from(value: Any) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator(guessed(value)).validate(value)
    both = joined([guessed(value), guessed({"other": "kind"})])
    Draft202012Validator(both).validate(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 12},
        {"type": "string", "maxLength": 2},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 7},
        {"type": "integer", "maximum": -7},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 3},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"enum": ["b", "a"]},
        {"type": ["string", "null"]},
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {}},
            "required": ["a"],
        },
    ],
)
def test_a_sample_fits_its_schema(schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator(schema).validate(sample_of(schema))
