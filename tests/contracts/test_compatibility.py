"""Sagas in flight beside the code that is to be deployed: who could not go on, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from contract_sagas import CHARGE, MAIL, ORDER, Charge, Receipt, Send, define
from pydantic import BaseModel

from orchestrator.contracts.compatibility import Census, Kind, Release, points_of
from orchestrator.contracts.handled import handled_by
from orchestrator.contracts.remaining import remaining
from orchestrator.definition import SagaOrchestrator, SagaStep
from orchestrator.planning import plan_for
from orchestrator.registry import Registry
from orchestrator.saga.state import Saga, SagaState, Step, StepStatus
from participants import Context, Participant

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LEDGER = SagaStep("book", "Ledger.Book", "Ledger.Unbook")
PAID = {**ORDER, "receipt": "R-1"}
DONE, DOING, TO_DO = StepStatus.COMPLETED, StepStatus.EXECUTING, StepStatus.PENDING


class Rouble(BaseModel):
    order_id: int
    cents: int


def saga_of(
    definition: SagaOrchestrator,
    *statuses: StepStatus,
    data: Mapping[str, Any] = ORDER,
    state: SagaState = SagaState.PENDING,
) -> Saga:
    plan = plan_for(definition, data) if statuses else ()
    return Saga(
        saga_id="order-42",
        saga_type=definition.saga_type,
        state=state,
        input_digest="x",
        data=data,
        steps=tuple(
            Step(plan=step, status=status) for step, status in zip(plan, statuses, strict=True)
        ),
        created_at=NOW,
        updated_at=NOW,
    )


def services(
    *, charge: Any = Charge, answer: Any = Receipt, names: Sequence[str] = ("Till", "Mail")
) -> Sequence[Participant]:
    till, mail = Participant("Till"), Participant("Mail")

    async def act(command: Any, context: Context) -> Any:
        raise NotImplementedError

    for service, name, model, result in (
        (till, "Charge", charge, answer),
        (mail, "Send", Send, None),
    ):
        handler = type(act)(act.__code__, act.__globals__)
        handler.__annotations__ = {"command": model, "context": Context, "return": result}
        service.action(name)(handler)

    async def refund(command: dict[str, Any], context: Context) -> None:
        raise NotImplementedError

    till.compensation("Refund")(refund)
    return [each for each in (till, mail) if each.name in names]


def release(
    *definitions: SagaOrchestrator,
    participants: Sequence[Participant] | None = None,
    elsewhere: Sequence[str] = (),
) -> Release:
    return Release(
        registry=Registry(definitions),
        handled=None if participants is None else handled_by(participants),
        participants=frozenset(each.name for each in participants or ()),
        elsewhere=frozenset(elsewhere),
    )


SALE = define(CHARGE, MAIL)


def kinds(saga: Saga, new: Release) -> list[tuple[Kind, bool, str | None, str | None]]:
    return [(each.kind, each.strands, each.step_name, each.field) for each in points_of(saga, new)]


def test_there_is_nothing_to_say_where_nothing_changed() -> None:
    assert kinds(saga_of(SALE, DOING, TO_DO), release(SALE, participants=services())) == []


def test_a_planned_saga_goes_on_without_a_definition_and_an_unplanned_one_does_not() -> None:
    other = define(CHARGE, name="Other")
    assert kinds(saga_of(SALE, DOING, TO_DO), release(other)) == [
        (Kind.TYPE_GONE, False, None, None)
    ]
    assert kinds(saga_of(SALE), release(other)) == [(Kind.TYPE_GONE, True, None, None)]


def test_data_that_the_new_definition_cannot_plan_strand_a_saga_without_a_plan() -> None:
    picky = define(define_steps=lambda _self, data: [SagaStep(data["colour"], "A.B")], examples=())
    assert kinds(saga_of(SALE), release(picky)) == [(Kind.CANNOT_PLAN, True, None, None)]
    assert kinds(saga_of(SALE, DOING, TO_DO), release(picky)) == [
        (Kind.PLAN_CHANGED, False, None, None)
    ]


def test_a_changed_plan_harms_nobody() -> None:
    slower = replace(CHARGE, compensation=None)
    new = release(define(MAIL, LEDGER, slower))
    assert kinds(saga_of(SALE, DOING, TO_DO), new) == [
        (Kind.PLAN_CHANGED, False, "charge", None),
        (Kind.PLAN_CHANGED, False, "book", None),
        (Kind.PLAN_CHANGED, False, None, None),  # their order
    ]


def test_a_command_that_may_still_be_sent_needs_its_participant() -> None:
    new = release(SALE, participants=services(names=["Till"]))
    assert kinds(saga_of(SALE, DOING, TO_DO), new) == [(Kind.PARTICIPANT_GONE, True, "mail", None)]
    elsewhere = release(SALE, participants=services(names=["Till"]), elsewhere=["Mail"])
    assert kinds(saga_of(SALE, DOING, TO_DO), elsewhere) == []


def test_a_command_that_nobody_handles_any_more_strands_it() -> None:
    till, mail = services()
    bare = Participant("Till")
    bare.action("Charge")(till.handlers["Charge"].function)
    new = release(SALE, participants=[bare, mail])
    assert kinds(saga_of(SALE, DONE, TO_DO, data=PAID), new) == [
        (Kind.COMMAND_GONE, True, "charge", None)
    ]


def test_what_is_settled_needs_nobody() -> None:
    new = release(SALE, participants=services(names=["Till"]))
    going_back = saga_of(
        SALE, StepStatus.COMPENSATING, StepStatus.FAILED, state=SagaState.COMPENSATING, data=PAID
    )
    assert kinds(going_back, new) == []


def test_past_the_pivot_nothing_is_undone() -> None:
    pivot = define(LEDGER, replace(CHARGE, compensation=None, pivot=True), MAIL)
    saga = saga_of(pivot, DONE, DONE, TO_DO, data=PAID)
    assert [each.destination for each in remaining(saga)] == ["Mail.Send"]


def test_a_field_that_a_new_handler_needs_and_nobody_sends_is_named() -> None:
    class Coloured(Charge):
        colour: str

    new = release(SALE, participants=services(charge=Coloured))
    assert kinds(saga_of(SALE, DOING, TO_DO), new) == [
        (Kind.FIELD_MISSING, True, "charge", "colour")
    ]


def test_a_result_that_a_new_handler_no_longer_gives_is_missed_later() -> None:
    new = release(SALE, participants=services(answer=None))
    assert kinds(saga_of(SALE, DOING, TO_DO), new) == [
        (Kind.FIELD_MISSING, True, "mail", "receipt")
    ]
    assert kinds(saga_of(SALE, DONE, TO_DO, data=PAID), new) == []  # it has it already


def test_a_value_that_a_new_handler_refuses_is_named() -> None:
    new = release(SALE, participants=services(charge=Rouble))
    odd = {**ORDER, "order_id": "forty-two"}
    assert kinds(saga_of(SALE, DOING, TO_DO, data=odd), new) == [
        (Kind.FIELD_REFUSED, True, "charge", "order_id")
    ]


@pytest.mark.parametrize(("model", "strands"), [(Charge, True), (dict, False)])
def test_fields_that_new_plans_do_not_send_matter_to_who_needs_them(
    model: Any, strands: bool
) -> None:
    less = define(replace(CHARGE, payload=["cents"], command=None), MAIL)
    new = release(less, participants=services(charge=model))
    assert kinds(saga_of(SALE, DOING, TO_DO), new) == [
        (Kind.FIELD_NOT_SENT, strands, "charge", "order_id")
    ]


def test_equal_points_are_one_finding_with_its_sagas_counted() -> None:
    census = Census(release(define(CHARGE, name="Other")))
    for number in range(7):
        saga = replace(saga_of(SALE, DOING, TO_DO), saga_id=f"order-{number}")
        census.add(saga)
    census.add(replace(saga_of(SALE), saga_id="new-1"))
    census.add_unreadable("odd-1")
    told = {
        (each.point.kind, each.point.strands): (each.sagas, each.examples)
        for each in census.findings()
    }
    assert told == {
        (Kind.TYPE_GONE, True): (1, ("new-1",)),
        (Kind.TYPE_GONE, False): (7, tuple(f"order-{number}" for number in range(5))),
        (Kind.UNREADABLE, True): (1, ("odd-1",)),
    }
    assert (census.sagas, census.stranded) == (9, 2)
    assert [each.point.strands for each in census.findings()] == [True, True, False]
