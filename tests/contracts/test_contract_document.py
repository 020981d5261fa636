"""The AsyncAPI document: valid by the official schema, complete, and the same each time."""

import json
from pathlib import Path
from typing import Any

import pytest
from contract_sagas import CHARGE, MAIL, ORDER, define, document_of
from jsonschema import Draft7Validator, Draft202012Validator

from messaging.contract import ReplyType
from messaging.errors import DefinitionError
from messaging.topology import Names, installation
from orchestrator.contracts.agreements import agreements_of
from orchestrator.contracts.document import Contract, asyncapi, json_schemas
from orchestrator.contracts.handled import handled_by
from orchestrator.contracts.outlines import outlines_of
from orchestrator.contracts.written import agreements_in, resolved
from orchestrator.definition import SagaStep
from orchestrator.registry import load_definitions
from participants.run import load_participants

OFFICIAL = json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text())
EXAMPLES = ["approval", "bank_transfer", "order_fulfillment", "shop_order", "travel_booking"]


def contract_of(example: str, *, with_participants: bool) -> Contract:
    outlines = outlines_of(load_definitions([f"orchestrator.examples.{example}"]))
    services = load_participants([f"participants.examples.{example}"]) if with_participants else ()
    return Contract(outlines=outlines, agreements=agreements_of(outlines, handled_by(services)))


def written(example: str, *, with_participants: bool = True) -> dict[str, Any]:
    contract = contract_of(example, with_participants=with_participants)
    return asyncapi(contract, Names(), release="1.0.0")


def breaches(document: dict[str, Any]) -> list[str]:
    found = Draft7Validator(OFFICIAL).iter_errors(document)
    return [f"{list(error.path)}: {error.message[:200]}" for error in found]


@pytest.mark.parametrize("with_participants", [False, True])
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_document_is_valid_by_the_official_schema(
    example: str, with_participants: bool
) -> None:
    assert breaches(written(example, with_participants=with_participants)) == []


def test_the_official_schema_catches_what_is_wrong() -> None:
    document = written("bank_transfer")
    document["operations"]["send.AccountService.Debit"]["action"] = "publish"
    assert breaches(document) != []
    document = written("bank_transfer")
    document["channels"]["replies"]["bindings"]["amqp"]["is"] = "exchange"
    assert breaches(document) != []


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_reference_leads_somewhere(example: str) -> None:
    assert "$ref" not in json.dumps(resolved(written(example)))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_valid_by_its_own_schema(example: str) -> None:
    messages = written(example)["components"]["messages"]
    shown = [(name, each) for name in messages for each in messages[name].get("examples", ())]
    assert shown
    for name, each in shown:
        for part in ("headers", "payload"):
            if part in each:
                Draft202012Validator(messages[name][part]).validate(each[part])


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_schema_is_one(example: str) -> None:
    for schema in json_schemas(contract_of(example, with_participants=True)).values():
        Draft202012Validator.check_schema(schema)


def test_the_same_definitions_give_the_same_bytes() -> None:
    assert json.dumps(written("shop_order")) == json.dumps(written("shop_order"))


def test_the_queues_have_our_arguments_and_the_exchanges_our_types() -> None:
    names = Names("shop")
    document = asyncapi(
        contract_of("order_fulfillment", with_participants=False), names, release="1"
    )
    services = ["InventoryService", "PaymentService", "ShippingService", "NotificationService"]
    topology = installation(names, services)
    bindings = [channel["bindings"]["amqp"] for channel in document["channels"].values()]
    exchanges = {
        (each["exchange"]["name"], each["exchange"]["type"])
        for each in bindings
        if each["is"] == "routingKey"
    }
    kinds = {each.name: each.type for each in topology.exchanges}
    assert exchanges == {(name, kind) for name, kind in kinds.items() if name != names.dead}
    arguments = {
        channel["address"]: channel["x-queue-arguments"]
        for channel in document["channels"].values()
        if "x-queue-arguments" in channel
    }
    expected = {each.name: dict(each.arguments) for each in topology.queues}
    assert arguments == {name: expected[name] for name in expected if name != names.dead_letters}


def test_a_command_says_what_it_carries_and_what_is_answered() -> None:
    document = document_of(define(CHARGE, MAIL))
    messages = document["components"]["messages"]
    charge = messages["Till.Charge"]
    assert set(charge["payload"]["required"]) == {"saga_id", "step_name", "order_id", "cents"}
    assert charge["payload"]["properties"]["cents"]["type"] == "integer"
    assert charge["headers"]["properties"]["saga-direction"] == {"const": "action"}
    assert charge["examples"][0]["payload"] == {
        "saga_id": "example-1",
        "step_name": "charge",
        **ORDER,
    }
    result = messages["Till.Charge.SagaStepCompleted"]["payload"]["properties"]["result"]
    assert result["required"] == ["receipt"]
    undo = messages["Till.Refund"]["payload"]
    assert "original_result" in undo["required"]
    assert undo["properties"]["receipt"] == {"title": "Receipt", "type": "string"}
    assert "receipt" not in undo["required"]  # the action may never have answered
    operation = document["operations"]["send.Till.Refund"]
    assert [each["$ref"].rpartition("/")[2] for each in operation["reply"]["messages"]] == [
        ReplyType.COMPENSATION_COMPLETED,
        ReplyType.COMPENSATION_FAILED,
    ]


def test_a_payload_carries_no_more_than_it_lists() -> None:
    step = SagaStep("mail", "Mail.Send", payload=["order_id"])
    payload = document_of(define(step))["components"]["messages"]["Mail.Send"]["payload"]
    assert set(payload["properties"]) == {"saga_id", "step_name", "order_id"}


def test_what_is_read_back_is_what_was_agreed_on() -> None:
    contract = contract_of("order_fulfillment", with_participants=True)
    read = agreements_in(resolved(asyncapi(contract, Names(), release="1")))
    for before, after in zip(contract.agreements, read, strict=True):
        assert (before.destination, before.direction, before.uses) == (
            after.destination,
            after.direction,
            after.uses,
        )
        assert before.carries == after.carries
        assert before.examples == after.examples


def test_a_command_of_two_directions_is_refused() -> None:
    steps = (SagaStep("a", "Till.Charge", "Till.Refund"), SagaStep("b", "Till.Refund"))
    with pytest.raises(DefinitionError, match=r"Till\.Refund is the compensation of Sale\.a and"):
        document_of(define(*steps))


def test_a_definition_that_needs_data_and_has_no_examples_is_refused() -> None:
    greedy = define(examples=(), define_steps=lambda _self, data: [SagaStep(data["step"], "A.B")])
    with pytest.raises(DefinitionError, match=r"KeyError: 'step'; declare examples, or give"):
        document_of(greedy)
