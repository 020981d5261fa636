"""Each verb of the scenario language, where the saga does what is expected."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from kit_sagas import Order, Ping, Trip

from messaging.errors import DefinitionError, ProtocolError
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.testing import given
from orchestrator.testing.scenario import BEGINNING, Scenario

ROOT = Path(__file__).resolve().parents[2]
SECONDS = timedelta(seconds=1)


def _exhausted() -> Scenario:
    """A reservation that cannot be released, after a payment that was declined."""
    saga = given(Order).expects("reserve").completes().expects("pay").fails("declined")
    for _ in range(2):
        saga = (saga.compensates("reserve") if saga.at.unseen else saga).fails("busy")
        saga = saga.retries("reserve")
    return saga.fails("busy")


def _paid() -> Scenario:
    return given(Order).expects("reserve").completes().expects("pay").completes()


def test_the_order_example_completes_step_by_step() -> None:
    saga = given(OrderFulfillmentSaga, {"order_id": "42"})
    for step in ("reserve_inventory", "process_payment", "create_shipment", "send_confirmation"):
        saga = saga.expects(step).completes({step: "done"})
    saga = saga.ends("completed").announces("OrderFulfillmentCompleted", {"order_id": "42"})
    assert saga.saga.data["create_shipment"] == "done"


def test_a_declined_payment_releases_the_reservation() -> None:
    (
        given(OrderFulfillmentSaga, {"order_id": "42"})
        .expects("reserve_inventory")
        .completes({"reservation": "r-1"})
        .expects("process_payment")
        .carrying({"order_id": "42", "reservation": "r-1"})
        .fails("declined")
        .compensates("reserve_inventory")
        .carrying({"original_result": {"reservation": "r-1"}})
        .ends("failed", error="declined")
        .announces("OrderFulfillmentFailed", {"failed_step": "process_payment"})
    )


def test_a_scenario_is_a_value_and_two_stories_go_on_from_it() -> None:
    reserved = given(OrderFulfillmentSaga).expects("reserve_inventory").completes()
    declined = reserved.expects("process_payment").fails("declined")
    reserved.expects("process_payment").completes().expects("create_shipment")
    declined.compensates("reserve_inventory").ends("failed")


def test_a_definition_may_be_given_as_an_object() -> None:
    given(Ping(), saga_id="ping-7").expects("ping").carrying({"saga_id": "ping-7"})


def test_a_parallel_stage_is_expected_in_any_order_and_answered_together() -> None:
    booked = given(Trip).expects("car", "flight", "hotel").completes({"flight_no": "X1"})
    booked.expects("invoice").carrying({"flight_no": "X1"}).completes().ends("completed")


def test_a_parallel_stage_is_awaited_before_anything_is_undone() -> None:
    (
        given(Trip)
        .expects("flight", "hotel", "car")
        .step("hotel")
        .fails("full")
        .sends_nothing()
        .step("flight")
        .completes()
        .is_now("pending")
        .sends_nothing()
        .step("car")
        .completes()
        .compensates("flight", "car")
        .step("flight")
        .fails("strike")
        .retries("flight", after=2 * SECONDS)
        .completes()
        .steps(flight="compensated", car="compensated", hotel="failed", invoice="pending")
        .ends("failed", error="full")
    )


def test_an_action_is_retried_with_backoff_and_then_fails() -> None:
    (
        given(Order)
        .expects("reserve")
        .completes()
        .expects("pay")
        .fails("busy", retryable=True)
        .sends_nothing()
        .retries("pay", after=2 * SECONDS)
        .fails("busy", retryable=True)
        .retries("pay", after=4 * SECONDS)
        .fails("busy", retryable=True)
        .compensates("reserve")
        .ends("failed")
    )


def test_a_timeout_compensates_the_silent_step_first() -> None:
    timed_out = given(Order).expects("reserve").after(minutes=14).sends_nothing()
    timed_out = timed_out.after(minutes=1).compensates("reserve").ends("failed")
    assert timed_out.now - BEGINNING == timedelta(minutes=15)


def test_times_out_waits_for_the_deadline_of_the_step_itself() -> None:
    saga = given(Order).expects("reserve").times_out()
    assert saga.now - BEGINNING == timedelta(minutes=15)
    saga.compensates("reserve").times_out().retries("reserve", after=2 * SECONDS)


def test_a_step_that_is_resent_on_timeout_is_sent_again_at_once() -> None:
    saga = given(Ping).expects("ping").times_out().retries("ping", after=0 * SECONDS)
    saga.completes().ends("completed")


def test_an_effect_that_is_unknown_is_compensated_too() -> None:
    unknown = given(Ping).expects("ping").fails("lost", effect="unknown")
    unknown.compensates("ping").ends("failed", error="lost")


def test_after_the_pivot_the_saga_only_goes_forward() -> None:
    shipping = _paid().cancel(refused="past its pivot").expects("ship").fails("no van")
    shipping.retries("ship").fails("no van").retries("ship").completes().ends("completed")


def test_after_the_pivot_a_person_is_called_and_retries_the_step() -> None:
    saga = _paid().expects("ship").fails("no van").retries("ship").fails("no van")
    saga = saga.retries("ship").fails("no van").calls_person("forward_exhausted")
    saga.is_now("pending").retry("ship").expects("ship").completes().ends("completed")


def test_after_the_pivot_a_person_supplies_the_result() -> None:
    saga = _paid().expects("ship").fails("no van").retries("ship").fails("no van")
    saga = saga.retries("ship").fails("no van").resolve("ship", result={"parcel": "p-1"})
    saga = saga.announces("SagaInterventionResolved", {"step_name": "ship"}).ends("completed")
    assert saga.saga.data["parcel"] == "p-1"


def test_a_cancel_awaits_what_is_outstanding_and_undoes_it() -> None:
    cancelled = given(Order).expects("reserve").cancel("customer called").sends_nothing()
    cancelled = cancelled.step("reserve").completes().compensates("reserve").ends("failed")
    failure = cancelled.saga.first_failure
    assert failure is not None
    assert failure.step is None
    assert "customer called" in failure.error


def test_an_exhausted_compensation_is_resolved_by_hand() -> None:
    exhausted = _exhausted().calls_person("compensation_exhausted")
    exhausted = exhausted.is_now("compensating").announces("SagaCompensationDeadLettered")
    exhausted.resolve("reserve").ends("failed", error="declined")


def test_an_exhausted_compensation_is_retried_by_hand() -> None:
    _exhausted().retry("reserve").compensates("reserve").ends("failed")


def test_what_an_operator_may_not_do_is_refused() -> None:
    saga = given(Order).retry("reserve", refused="owes no retry")
    saga.resolve("reserve", refused="is tried by itself now").expects("reserve")


def test_a_duplicate_reply_changes_nothing() -> None:
    paid = _paid().repeats().counts_as("duplicate")
    paid.expects("ship").completes().ends("completed")


def test_a_redelivered_reply_sends_the_same_again_and_nothing_new() -> None:
    paid = _paid().expects("ship").step("ship")
    again = _paid().repeats(redelivered=True).expects("ship")
    assert again.saga == paid.saga
    assert again.history == paid.history


def test_a_repeated_compensation_reply_is_a_duplicate() -> None:
    timed_out = given(Order).expects("reserve").times_out().compensates("reserve")
    timed_out.repeats().counts_as("duplicate").ends("failed")


def test_a_late_success_is_compensated() -> None:
    declined = given(Trip).expects("flight", "hotel", "car").step("flight").fails("full")
    late = declined.late("flight").completes().counts_as("late_success")
    late = late.step("hotel").completes().step("car").completes()
    late.compensates("flight", "hotel", "car").ends("failed")


def test_a_success_after_the_end_calls_a_person() -> None:
    failed = given(Ping).expects("ping").fails("no").ends("failed")
    failed.late("ping").completes({"at": 1}).calls_person("late_success")


def test_a_failure_after_a_success_is_a_conflict() -> None:
    _paid().late("pay").fails("declined after all").counts_as("conflict").expects("ship")


def test_the_history_is_the_one_that_the_database_would_keep() -> None:
    history = given(Ping).expects("ping").completes().history
    assert [line.version for line in history] == list(range(1, len(history) + 1))
    assert (history[-1].before, history[-1].after) == ("pending", "completed")


def test_a_definition_that_an_orchestrator_would_refuse_is_refused() -> None:
    with pytest.raises(DefinitionError, match="returned no step"):
        given(Ping, {"nothing": True})


def test_data_that_cannot_cross_the_network_are_refused() -> None:
    with pytest.raises(ProtocolError, match="reserved_key"):
        given(Ping, {"saga_id": "mine"})
    with pytest.raises(ProtocolError):
        given(Ping).expects("ping").completes({"price": float("nan")})


def test_scenarios_load_no_database_and_no_pytest() -> None:
    program = (
        "import sys; from orchestrator.testing import given;"
        "print(sorted({'sqlalchemy', 'alembic', 'pytest', 'aio_pika'} & set(sys.modules)))"
    )
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert printed.strip() == "[]"
