"""Participants in Python held to a contract without running them: what is wrong is named."""

from collections.abc import Callable
from typing import Any

import pytest
from contract_sagas import CHARGE, MAIL, Charge, Receipt, Send, agreed, define
from pydantic import BaseModel, Field

from orchestrator.contracts.handled import handled_by
from orchestrator.contracts.verification import Finding, Level, is_kept, verified
from orchestrator.definition import SagaStep
from participants import Context, Participant
from participants.context import Context as AnyContext
from participants.outcome import LaterType

Handler = Callable[[Any, AnyContext], Any]


class Coloured(BaseModel):
    order_id: str
    colour: str


class Listing(BaseModel):
    order_id: list[str]
    cents: int


class Dear(BaseModel):
    order_id: str
    cents: int = Field(ge=1000)


class Number(BaseModel):
    number: str


class Amount(BaseModel):
    receipt: list[str]


async def charge(command: Charge, context: Context) -> Receipt:
    raise NotImplementedError


async def refund(command: dict[str, Any], context: Context) -> None:
    raise NotImplementedError


def till(action: Handler = charge, *, undo: Handler | None = refund) -> Participant:
    made = Participant("Till")
    made.action("Charge")(action)
    if undo is not None:
        made.compensation("Refund")(undo)
    return made


def found(*participants: Participant, steps: tuple[SagaStep, ...] = (CHARGE,)) -> list[Finding]:
    agreements = [*agreed(define(*steps)).values()]
    names = [each.name for each in participants]
    return [*verified(agreements, handled_by(participants), names)]


def problems(*participants: Participant, steps: tuple[SagaStep, ...] = (CHARGE,)) -> list[str]:
    return [
        f"{each.destination} {each.field}: {each.detail}"
        for each in found(*participants, steps=steps)
        if each.level is Level.PROBLEM
    ]


def test_who_handles_everything_keeps_the_contract() -> None:
    findings = found(till())
    assert [each.level for each in findings] == [Level.OK, Level.OK]
    assert is_kept(findings)


def test_a_missing_handler_is_named_with_its_step() -> None:
    assert problems(till(undo=None)) == [
        "Till.Refund None: there is no handler for the compensation of Sale.charge"
    ]


def test_a_handler_of_the_other_direction_is_no_handler() -> None:
    made = Participant("Till")
    made.compensation("Charge")(refund)
    made.action("Refund")(refund)
    assert problems(made) == [
        (
            "Till.Charge None: the handler is registered as compensation, and Sale.charge sends it "
            "as action"
        ),
        (
            "Till.Refund None: the handler is registered as action, and Sale.charge sends it as "
            "compensation"
        ),
    ]


async def coloured(command: Coloured, context: Context) -> Receipt:
    raise NotImplementedError


async def listing(command: Listing, context: Context) -> Receipt:
    raise NotImplementedError


async def dear(command: Dear, context: Context) -> Receipt:
    raise NotImplementedError


async def number(command: Charge, context: Context) -> Number:
    raise NotImplementedError


async def amount(command: Charge, context: Context) -> Amount:
    raise NotImplementedError


async def perhaps(command: Charge, context: Context) -> Receipt | None:
    raise NotImplementedError


async def nothing(command: Charge, context: Context) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (coloured, "Till.Charge colour: needs 'colour', which no command carries"),
        (listing, "Till.Charge order_id: 'order_id' is string, and array is expected"),
        (dear, "Till.Charge cents: refuses example 1: cents: Input should be greater than"),
        (number, "Till.Charge receipt: shall answer 'receipt', and never does"),
        (amount, "Till.Charge receipt: result 'receipt' is array, and string is expected"),
        (perhaps, "Till.Charge receipt: shall answer 'receipt', and not always does"),
        (nothing, "Till.Charge receipt: shall answer 'receipt', and never does"),
    ],
)
def test_a_field_that_does_not_fit_is_named(handler: Handler, told: str) -> None:
    assert any(each.startswith(told) for each in problems(till(handler)))


async def some_dict(command: Charge, context: Context) -> dict[str, Any]:
    raise NotImplementedError


async def later(command: Charge, context: Context) -> LaterType:
    raise NotImplementedError


@pytest.mark.parametrize("handler", [some_dict, later])
def test_what_cannot_be_seen_is_a_warning(handler: Handler) -> None:
    findings = found(till(handler))
    assert is_kept(findings)
    [warning] = [each for each in findings if each.level is Level.WARNING]
    assert (warning.check, warning.field) == ("result", "receipt")


async def receipt_later(command: Charge, context: Context) -> Receipt | LaterType:
    raise NotImplementedError


def test_what_is_answered_later_is_what_the_annotation_says() -> None:
    assert {each.level for each in found(till(receipt_later))} == {Level.OK}


async def send(command: Send, context: Context) -> None:
    raise NotImplementedError


def mail() -> Participant:
    made = Participant("Mail")
    made.action("Send")(send)
    return made


def test_a_result_that_later_steps_need_and_nobody_declares_is_a_warning() -> None:
    silent = (SagaStep("charge", "Till.Charge"), SagaStep("mail", "Mail.Send"))
    [finding] = [each for each in found(mail(), steps=silent) if each.destination == "Mail.Send"]
    assert (finding.level, finding.field) == (Level.WARNING, "receipt")


def test_a_field_that_the_payload_leaves_out_is_a_problem() -> None:
    less = SagaStep("mail", "Mail.Send", payload=["order_id"])
    assert problems(mail(), steps=(CHARGE, less)) == [
        "Mail.Send receipt: needs 'receipt', which no command carries"
    ]


def test_others_are_not_looked_at_and_strangers_are_named() -> None:
    made = till()
    made.action("Bless")(charge)
    stranger = Participant("Stranger")
    stranger.action("Go")(charge)
    told = {each.destination: each.detail for each in found(made, stranger, steps=(CHARGE, MAIL))}
    assert told["Mail"] == "Mail is not among these modules, and was not looked at"
    assert told["Stranger"] == "no saga of the contract has a command for Stranger"
    assert told["Till.Bless"] == "no step of the contract sends it"
