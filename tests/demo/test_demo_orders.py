"""What is ordered in the demo, and what has to become of it."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.demo.orders import (
    FULFILLED,
    STEPS,
    STUBBORN,
    Ending,
    Kind,
    Order,
    orders_for,
)
from orchestrator.demo.pace import pace_of
from participants.examples.books import Account
from participants.examples.trials import Trial


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 50, 300, 1001])
def test_there_are_as_many_orders_as_asked_for_and_each_has_its_own_id(count: int) -> None:
    orders = orders_for(count, None)
    assert len({order.saga_id for order in orders}) == len(orders) == count


def test_a_single_order_meets_with_no_trouble() -> None:
    assert [order.kind for order in orders_for(1, None)] == [FULFILLED]


@pytest.mark.parametrize("count", [8, 20, 300])
def test_eight_orders_are_enough_for_every_kind_of_trouble(count: int) -> None:
    kinds = Counter(order.kind.title for order in orders_for(count, None))
    failing = {f"{step} fails" for step in STEPS}
    assert failing < kinds.keys()
    assert len(kinds) == 8
    assert kinds[STUBBORN.title] == 1


def test_the_order_that_takes_longest_is_placed_first() -> None:
    assert orders_for(300, None)[0].kind is STUBBORN


def test_most_of_the_orders_meet_with_no_trouble() -> None:
    kinds = Counter(order.kind.title for order in orders_for(300, None))
    assert kinds[FULFILLED.title] > 150


@pytest.mark.parametrize("step", STEPS)
def test_all_orders_fail_at_the_step_that_is_named(step: str) -> None:
    orders = orders_for(7, step)
    assert {order.kind.fail_at for order in orders} == {step}
    assert {order.kind.ending for order in orders} == {Ending.FAILED}


def test_an_order_that_fails_leaves_nothing_of_what_came_before() -> None:
    account = Kind(title="", fail_at=STEPS[2]).account
    assert account == Account(done={STEPS[0]: 1, STEPS[1]: 1}, undone={STEPS[0]: 1, STEPS[1]: 1})


def test_a_refund_that_never_succeeds_halts_what_comes_before_it() -> None:
    assert STUBBORN.ending is Ending.HALTED
    assert STUBBORN.account.left == {"reserve_inventory", "process_payment"}
    assert STUBBORN.account.undone == {"create_shipment": 1}


def test_the_services_understand_the_trouble_that_they_are_asked_for() -> None:
    data = Order(number=4, kind=STUBBORN).data
    trial = Trial.model_validate(data)
    assert (trial.fail_at, trial.fail_compensation) == (
        "send_confirmation",
        {"process_payment": -1},
    )


def test_the_price_of_an_order_is_that_of_its_articles() -> None:
    for number in range(1, 40):
        order = Order(number=number, kind=FULFILLED)
        total = sum(item["quantity"] * item["price"] for item in order.data["items"])
        assert round(total * 100) == order.cents > 0


def test_the_pace_is_told_from_first_beginning_to_last_end() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def at(seconds: int) -> datetime:
        return start + timedelta(seconds=seconds)

    pace = pace_of([(at(0), at(4)), (at(1), at(2)), (at(2), at(8))])
    assert pace.took == timedelta(seconds=8)
    assert pace.median == timedelta(seconds=4)
    assert pace.per_second == 3 / 8
