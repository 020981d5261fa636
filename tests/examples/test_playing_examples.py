"""Every example on real servers: each outcome, balanced books, and the page that shows them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.approval_cases import APPROVAL
from tests.examples.bank_cases import BANK_TRANSFER
from tests.examples.catalogue import EXAMPLES
from tests.examples.choreography_cases import ORDER_CHOREOGRAPHY, PlayedChoreography
from tests.examples.page import ROOT, documentation_of, page_of, shown_in
from tests.examples.playing import Example, Played, place_for, play
from tests.examples.shop_cases import SHOP_ORDER
from tests.examples.travel_cases import TRAVEL_BOOKING

every_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)


@pytest.fixture
def played(
    request: pytest.FixtureRequest, amqp_url: str, postgres_url: str, tmp_path: Path
) -> Iterator[Played]:
    example: Example = request.param
    with place_for(example, amqp_url, postgres_url) as place:
        yield play(example, place, tmp_path)


def playing(example: Example) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("played", [example], ids=[example.name], indirect=True)


def shown_of(played: Played) -> list[str]:
    """What its page says that it prints."""
    [shown] = shown_in(documentation_of(played.example), "text")
    return shown.splitlines()


@playing(BANK_TRANSFER)
def test_money_is_transferred_or_comes_back_to_the_cent(played: Played) -> None:
    assert list(played.problems) == []
    assert played.undone("frozen-0") == ["record", "debit"]
    assert played.undone("poor-0") == []
    assert list(page_of(played)) == shown_of(played)


@playing(TRAVEL_BOOKING)
def test_a_trip_is_booked_and_paid_or_released_and_not(played: Played) -> None:
    assert list(played.problems) == []
    assert sorted(played.undone("card-0")) == ["reserve_car", "reserve_flight", "reserve_hotel"]
    assert sorted(played.undone("room-0")) == ["reserve_flight"]
    assert [step.name for step in played.sagas["trip-0"].steps if "car" in step.name] == []
    attempts = {step.name: step.attempts for step in played.sagas["busy-0"].steps}
    assert (attempts["confirm_hotel"], attempts["confirm_flight"]) == (3, 1)
    assert list(page_of(played)) == shown_of(played)


@playing(APPROVAL)
def test_a_person_answers_in_time_or_the_request_is_withdrawn(played: Played) -> None:
    assert list(played.problems) == []
    assert played.sagas["lathe-0"].data["approved_by"] == "the works office"
    assert played.undone("no-0") == ["set_aside"]
    assert played.undone("late-0") == ["approve", "set_aside"]
    assert played.undone("gone-0") == ["approve", "set_aside"]
    assert list(page_of(played)) == shown_of(played)


@playing(SHOP_ORDER)
def test_an_order_has_the_steps_it_needs_and_what_was_shipped_comes_back(played: Played) -> None:
    def steps(saga_id: str) -> list[str]:
        return [step.name for step in played.sagas[saga_id].steps]

    assert list(played.problems) == []
    assert steps("lamp-0") == ["take_stock", "charge", "ship"]
    assert steps("file-0") == ["charge", "send_download"]
    assert steps("gift-0") == ["take_stock", "redeem_voucher", "charge", "ship"]
    assert steps("many-0") == ["check_risk", "take_stock", "charge", "ship", "issue_invoice"]
    assert played.undone("here-0") == ["ship", "charge", "redeem_voucher", "take_stock"]
    assert played.undone("away-0") == ["ship", "charge", "take_stock"]
    assert played.undone("sent-0") == ["send_download", "charge"]
    assert list(page_of(played)) == shown_of(played)


@playing(ORDER_CHOREOGRAPHY)
def test_services_without_an_orchestrator_undo_what_they_did(played: Played) -> None:
    assert isinstance(played, PlayedChoreography)
    assert list(played.problems) == []
    assert played.story("away-0") == [
        "OrderPlaced",
        "InventoryReserved",
        "PaymentProcessed",
        "ShipmentFailed",
        "PaymentRefunded",
        "InventoryReleased",
        "OrderCancelled",
    ]
    assert "PaymentRefunded" not in played.story("poor-0")
    assert list(page_of(played)) == shown_of(played)


@every_example
def test_the_page_shows_the_code_as_it_is(example: Example) -> None:
    modules = [
        *ROOT.glob(f"orchestrator/examples/{example.module}.py"),
        *ROOT.glob(f"participants/examples/{example.module}*.py"),
    ]
    sources = [module.read_text() for module in modules]
    blocks = shown_in(documentation_of(example), "python")
    shown = [block for block in blocks if not block.startswith("from ")]  # those are callers
    assert shown
    assert [block for block in shown if not any(block in source for source in sources)] == []


@every_example
def test_the_page_says_how_to_run_it(example: Example) -> None:
    assert f"make example NAME={example.name}\n" in shown_in(documentation_of(example), "")
