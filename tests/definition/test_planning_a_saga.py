"""A definition and a saga's data make a plan."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from definitions import define, plan_of

from messaging.errors import DefinitionError
from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.planning import participants_of, plan_for
from orchestrator.saga.plan import ONCE, OnTimeout, PlannedStep

HOUR = timedelta(hours=1)


def book(name: str = "book", **more: Any) -> SagaStep:
    return SagaStep(name, action="Flights.Book", compensation="Flights.Cancel", **more)


def only(**more: Any) -> PlannedStep:
    return plan_of(book(**more))[0]


def test_steps_stand_in_stages_in_the_order_in_which_they_are_listed() -> None:
    plan = plan_of(book("a"), [book("b"), book("c")], book("d"))
    assert [(step.name, step.stage) for step in plan] == [("a", 0), ("b", 1), ("c", 1), ("d", 2)]


def test_empty_stages_are_left_out() -> None:
    plan = plan_of(book("a"), [], book("b"))
    assert [step.stage for step in plan] == [0, 1]


def test_a_step_has_the_defaults_of_the_design() -> None:
    step = only()
    assert step.timeout == timedelta(minutes=5)
    assert step.retry == ONCE
    assert step.compensation_retry == RetryPolicy(
        max_attempts=5,
        initial=timedelta(seconds=2),
        maximum=timedelta(minutes=5),
        multiplier=2,
        jitter=True,
    )
    assert step.on_timeout is OnTimeout.COMPENSATE
    assert (step.payload, step.pivot) == (None, False)


def test_a_timeout_is_the_steps_own_or_else_by_name_or_else_five_minutes() -> None:
    definition = define(
        [book("a", timeout=HOUR), book("b"), book("c")], timeouts={"a": 2 * HOUR, "b": 3 * HOUR}
    )
    timeouts = [step.timeout for step in plan_for(definition, {})]
    assert timeouts == [HOUR, 3 * HOUR, timedelta(minutes=5)]


def test_a_step_that_is_resent_is_tried_five_times_unless_it_says_otherwise() -> None:
    assert only(on_timeout="resend").retry == RetryPolicy()
    policy = RetryPolicy(max_attempts=2)
    assert only(on_timeout="resend", retry=policy).retry == policy


def test_steps_after_the_pivot_are_tried_again_and_resent() -> None:
    plan = plan_of(
        book("a"), SagaStep("pay", "Bank.Pay", pivot=True), SagaStep("mail", "Mail.Send")
    )
    assert [step.retry for step in plan] == [ONCE, RetryPolicy(), RetryPolicy()]
    assert [step.on_timeout for step in plan][1:] == [OnTimeout.RESEND, OnTimeout.RESEND]


def test_a_pivot_that_can_be_undone_is_tried_as_often_as_any_other_step() -> None:
    plan = plan_of(book("pay", pivot=True), SagaStep("mail", "Mail.Send"))
    assert plan[0].retry == ONCE
    assert plan[0].on_timeout is OnTimeout.COMPENSATE


def test_a_payload_is_kept_as_a_tuple_of_keys() -> None:
    assert only(payload=["amount", "token"]).payload == ("amount", "token")
    assert only(payload=[]).payload == ()


def test_equal_steps_have_one_plan() -> None:
    assert only(timeout=HOUR) is only(timeout=HOUR)
    assert only(payload=["amount"]) == only(payload=("amount",))


def test_steps_may_depend_on_the_data() -> None:
    class Gift(SagaOrchestrator):
        saga_type = "Gift"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return [book(name) for name in data["names"]]

    assert [step.name for step in plan_for(Gift(), {"names": ["a", "b"]})] == ["a", "b"]


def test_a_definition_cannot_change_the_data_of_its_saga() -> None:
    class Greedy(SagaOrchestrator):
        saga_type = "Greedy"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            data["items"].append("mine")
            return [book()]

    data: Mapping[str, Any] = {"items": ["yours"]}
    plan_for(Greedy(), data)
    assert data == {"items": ["yours"]}


def test_what_define_steps_raises_is_told_with_the_saga_type() -> None:
    class Needy(SagaOrchestrator):
        saga_type = "Needy"

        def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
            return [book(data["name"])]

    with pytest.raises(DefinitionError, match=r"Needy\.define_steps raised KeyError: 'name'"):
        plan_for(Needy(), {})


# --- participants ----------------------------------------------------------------------


def test_the_participants_are_those_of_the_plan() -> None:
    assert participants_of(OrderFulfillmentSaga()) == {
        "InventoryService",
        "PaymentService",
        "ShippingService",
        "NotificationService",
    }


RESERVE = "Inventory.Reserve"
WRAP = SagaStep("wrap", "Packing.Wrap", "Boxes.Unwrap")
SHIPPERS: dict[str, str] = {"air": "Planes.Ship", "sea": "Ships.Ship"}


def shipping(data: Mapping[str, Any]) -> SagaStep:
    return SagaStep("ship", SHIPPERS[data["by"]])


class Conditional(SagaOrchestrator):
    """Its docstring mentions Nobody.AtAll and is no name of a command."""

    saga_type = "Conditional"
    STEP_TIMEOUTS: ClassVar[Mapping[str, timedelta]] = {"wrap": HOUR}

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        steps: list[SagaStep | list[SagaStep]] = [SagaStep("reserve", RESERVE)]
        if data.get("is_gift"):
            steps.append(WRAP)
        if data.keys() and data["by"]:
            steps.append(shipping(data))
        if data:
            steps.extend(self._paying(lambda: "Bank.Pay"))
        return steps

    def _paying(self, action: Any) -> list[SagaStep]:
        return [SagaStep("pay", action())]


def test_the_participants_of_steps_that_depend_on_data_are_read_off_the_code() -> None:
    assert participants_of(Conditional()) == {
        "Inventory",
        "Packing",
        "Boxes",
        "Planes",
        "Ships",
        "Bank",
    }
