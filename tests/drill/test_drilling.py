"""The matrix, its filters, what stands in for services, and drills that make no sense."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mistaken_services as shop
import pytest

from messaging.errors import ConfigurationError, DefinitionError, NotFound
from orchestrator.examples.bank_transfer import BankTransferSaga
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.testing.drill import Drill, Obstacle
from orchestrator.testing.drill.loading import load_drills
from orchestrator.testing.drill.matrix import Wanted, cells_of
from orchestrator.testing.drill.results import Verdict
from orchestrator.testing.drill.story import condensed
from participants import Participant
from tests.drill.conftest import Drilled

BANK = Drill(saga=BankTransferSaga, inputs={"one": {}, "two": {"amount_cents": 1}})
SERVICES = ("orchestrator.examples.order_fulfillment", "participants.examples.order_fulfillment")


def test_what_has_no_compensation_is_not_undone() -> None:
    names = {cell.name for cell in cells_of([BANK])}
    assert "BankTransfer/one/debit/undo-fails" in names
    assert "BankTransfer/one/credit/undo-fails" not in names
    assert "BankTransfer/two/(start)/start-twice" in names


def test_a_no_that_a_service_has_not_said_itself_it_need_not_remember() -> None:
    names = {cell.fault.name for cell in cells_of([shop.no_idempotency])}
    assert "fails" in names
    assert "fails-then-again" not in names


def test_filters_choose() -> None:
    wanted = Wanted(steps=["debit", "record"], faults=["fails"], examples=["two"])
    assert [cell.step for cell in cells_of([BANK], wanted)] == ["debit", "record"]


@pytest.mark.parametrize(
    "wanted",
    [Wanted(steps=["debt"]), Wanted(faults=["fail"]), Wanted(examples=["three"])],
    ids=["step", "fault", "example"],
)
def test_an_unknown_name_is_refused_with_those_there_are(wanted: Wanted) -> None:
    with pytest.raises(NotFound, match="use one of"):
        cells_of([BANK], wanted)


async def test_without_services_stand_ins_play_and_the_programs_are_drilled(
    drilled: Drilled,
) -> None:
    results = await drilled(BANK, "debit", "command-twice", "undo-reply-lost", "start-twice")
    assert {each.verdict for each in results} == {Verdict.PASSED}


async def test_a_halted_saga_says_what_stands_and_goes_on_when_a_person_comes(
    drilled: Drilled,
) -> None:
    careful = shop.drilled(shop.careful_action, shop.careful_compensation)
    [result] = await drilled(careful, "pay", "undo-fails-for-ever")
    assert result.verdict is Verdict.PASSED


async def test_an_obstacle_that_is_none_shows(drilled: Drilled) -> None:
    async def nothing(connection: object) -> None:
        """In nobody's way."""

    careful = shop.drilled(shop.careful_action, shop.careful_compensation)
    unhindered = replace(careful, obstacles={"pay": Obstacle(put=nothing, remove=nothing)})
    results = await drilled(unhindered, "pay", "fails", "fails-then-again")
    assert {each.verdict for each in results} == {Verdict.NOT_REACHED}


async def test_a_ledger_with_unknown_steps_is_refused(drilled: Drilled) -> None:
    async def strange(connection: object, saga_id: str) -> Mapping[str, int]:
        return {"payment": 1}

    wrong = Drill(saga=shop.Shop, inputs={"one": {}}, ledger=strange)
    with pytest.raises(DefinitionError, match="'payment': 1; it has to give"):
        await drilled(wrong, "pay", "fails")


async def test_a_ledger_that_raises_is_named(drilled: Drilled) -> None:
    async def broken(connection: object, saga_id: str) -> Mapping[str, int]:
        raise KeyError("table")

    wrong = Drill(saga=shop.Shop, inputs={"one": {}}, ledger=broken)
    with pytest.raises(DefinitionError, match="the ledger of the drill of Shop raised KeyError"):
        await drilled(wrong, "pay", "fails")


async def test_a_ledger_that_says_nothing_is_refused(drilled: Drilled) -> None:
    async def silent(connection: object, saga_id: str) -> Mapping[str, int]:
        return {}

    wrong = Drill(saga=shop.Shop, inputs={"one": {}}, ledger=silent)
    with pytest.raises(DefinitionError, match="says nothing of any step when 'one' is run"):
        await drilled(wrong, "pay", "fails")


async def test_a_service_that_does_not_know_its_command_is_named(drilled: Drilled) -> None:
    wrong = Drill(saga=shop.Shop, services=[Participant("Bank")], inputs={"one": {}})
    with pytest.raises(DefinitionError, match=r"Bank has no command 'Bank\.Pay'"):
        await drilled(wrong, "reserve", "reply-twice")


def test_a_drill_without_inputs_is_refused() -> None:
    with pytest.raises(DefinitionError, match="no inputs"):
        Drill(saga=shop.Shop, inputs={})


def test_a_saga_and_its_services_are_drilled_with_the_data_given() -> None:
    data: dict[str, Any] = {"order_id": "1", "items": [{"sku": "A", "quantity": 1}]}
    [made] = load_drills(SERVICES, {"example 1": data})
    assert made.name == "OrderFulfillment"
    assert {each.name for each in made.services} == {
        *("InventoryService", "PaymentService", "ShippingService", "NotificationService")
    }


def test_without_data_a_saga_is_drilled_with_its_examples() -> None:
    [made] = load_drills(SERVICES)
    assert [*made.inputs.values()] == [*OrderFulfillmentSaga.examples]


def test_without_data_and_examples_a_saga_cannot_be_drilled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OrderFulfillmentSaga, "examples", ())
    with pytest.raises(ConfigurationError, match="with which data"):
        load_drills(SERVICES)


def test_a_module_without_sagas_and_drills_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="there is no Drill in it, and no saga"):
        load_drills(["json"], {"example 1": {}})


def test_repetitions_are_told_once() -> None:
    lines = ["begin", *(f"attempt {n}" if n % 2 else "no" for n in range(1, 9)), "end"]
    told = condensed(lines)
    assert told == ["begin", "attempt 1", "no", "… these 2 lines 3 more times …", "end"]
