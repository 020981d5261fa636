"""Whole sagas in this process: scripted participants, hosted ones, and a clock put forward."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from kit_sagas import Order, Ping, Trip

from messaging.contract import Direction
from messaging.errors import ConfigurationError, Conflict, DefinitionError, NotFound, Refused
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.testing import EmbeddedSagas, ScenarioFailed
from orchestrator.testing.scripted import ScriptedParticipant
from participants import Context, Participant, StepFailed
from participants.examples.order_fulfillment import inventory, notification, payment, shipping

ORDER = {
    "order_id": "42",
    "customer_id": "c-1",
    "items": [{"sku": "A-1", "quantity": 2, "price": "9.50"}],
    "payment_method": "card",
    "shipping_address": "1 Main Street",
}
MINUTES = timedelta(minutes=1)


@pytest.fixture
async def kit() -> AsyncIterator[EmbeddedSagas]:
    async with EmbeddedSagas() as opened:
        yield opened


def _asked(participant: ScriptedParticipant) -> list[str]:
    return [call.command for call in participant.calls]


async def test_a_declined_payment_releases_the_reservation(kit: EmbeddedSagas) -> None:
    stock = kit.participant("InventoryService").completes("ReserveItems", {"reservation": "r-1"})
    kit.participant("PaymentService").fails("ProcessPayment", "declined")
    saga = await kit.run(OrderFulfillmentSaga, {"order_id": "42"}, saga_id="order-42")
    assert (saga.saga_id, saga.state) == ("order-42", "failed")
    assert saga.first_failure is not None
    assert (saga.first_failure.step, saga.first_failure.error) == ("process_payment", "declined")
    undone = stock.calls[-1]
    assert undone.command == "InventoryService.ReleaseReservation"
    assert undone.direction is Direction.COMPENSATION
    assert undone.original_result == {"reservation": "r-1"}


async def test_the_example_services_run_as_they_are(kit: EmbeddedSagas) -> None:
    kit.host(inventory, payment, shipping, notification)
    done = await kit.run(OrderFulfillmentSaga, ORDER)
    failed = await kit.run(OrderFulfillmentSaga, {**ORDER, "fail_at": "create_shipment"})
    assert (done.state, failed.state) == ("completed", "failed")
    assert [step.status for step in failed.steps] == [
        *("compensated", "compensated", "failed", "pending"),
    ]


async def test_a_result_is_computed_from_the_data(kit: EmbeddedSagas) -> None:
    def pong(data: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"twice": 2 * data["number"]}

    kit.participant("echo").completes("Ping", pong)
    assert (await kit.run(Ping(), {"number": 21})).data["twice"] == 42


async def test_lines_of_a_script_are_used_in_their_order(kit: EmbeddedSagas) -> None:
    echo = kit.participant("echo").fails("Ping", "busy", retryable=True, times=2)
    echo.completes("Ping")
    saga = await kit.run(Ping)
    assert saga.state == "completed"
    assert [call.attempt for call in echo.calls] == [1, 2, 3]
    assert kit.commands == tuple(echo.calls)


async def test_a_silent_participant_costs_no_real_time(kit: EmbeddedSagas) -> None:
    before = kit.now
    kit.participant("echo").never_answers("Ping", times=1).completes("Ping")
    saga = await kit.run(Ping)
    assert saga.state == "completed"
    assert timedelta(minutes=5) <= kit.now - before < timedelta(minutes=6)


async def test_an_answer_takes_its_time_on_the_virtual_clock(kit: EmbeddedSagas) -> None:
    for name in ("flight", "hotel", "car"):
        kit.participant(name).completes("Book", after=4 * MINUTES)
    kit.participant("billing").completes("Charge", after=6 * MINUTES)
    saga = await kit.run(Trip)
    assert saga.state == "failed"
    invoice = saga.steps[-1]
    assert (invoice.status, invoice.error) == ("failed", "no reply within 300 s")


async def test_a_reply_that_comes_twice_counts_once(kit: EmbeddedSagas) -> None:
    kit.participant("echo").completes("Ping", copies=3)
    assert (await kit.run(Ping)).state == "completed"


async def test_an_unknown_effect_is_compensated(kit: EmbeddedSagas) -> None:
    echo = kit.participant("echo").fails("Ping", "lost", effect="unknown")
    assert (await kit.run(Ping)).state == "failed"
    assert _asked(echo) == ["echo.Ping", "echo.Hush"]


async def test_an_exhausted_compensation_waits_for_a_person(kit: EmbeddedSagas) -> None:
    kit.participant("stock").completes("Reserve").fails("Release", "busy", times=3)
    kit.participant("bank").fails("Pay", "declined")
    saga = await kit.run(Order)
    assert saga.state == "compensating"
    assert [letter.reason for letter in kit.dead_letters] == ["compensation_exhausted"]
    await kit.resolve(saga.saga_id, "reserve")
    assert (await kit.finish(saga.saga_id)).state == "failed"


async def test_a_person_retries_what_was_exhausted(kit: EmbeddedSagas) -> None:
    kit.participant("stock").completes("Reserve")
    kit.participant("bank").completes("Pay")
    post = kit.participant("post").fails("Ship", "no van", times=3)
    post.completes("Ship", {"parcel": "p-1"})
    saga = await kit.run(Order)
    assert (saga.state, saga.steps[-1].status) == ("pending", "failed")
    await kit.retry(saga.saga_id, "ship")
    assert (await kit.finish(saga.saga_id)).data["parcel"] == "p-1"


async def test_a_saga_is_cancelled_on_its_way(kit: EmbeddedSagas) -> None:
    kit.participant("stock").completes("Reserve", after=3 * MINUTES)
    saga_id = await kit.start(Order)
    await kit.pass_time(minutes=2)
    assert (await kit.show(saga_id)).state == "started"
    await kit.cancel(saga_id, reason="customer called")
    saga = await kit.finish(saga_id)
    assert (saga.state, saga.steps[0].status) == ("failed", "compensated")
    with pytest.raises(Refused, match="already failed"):
        await kit.cancel(saga_id)


async def test_time_passes_with_all_that_is_due_in_it(kit: EmbeddedSagas) -> None:
    echo = kit.participant("echo").never_answers("Ping")
    await kit.start(Ping)
    await kit.settle()
    assert len(echo.calls) == 1
    await kit.pass_time(timedelta(minutes=11))
    assert len(echo.calls) == 3


async def test_an_answer_that_is_put_off_is_given_by_the_test(kit: EmbeddedSagas) -> None:
    echo = Participant("echo")

    @echo.action("Ping")
    async def ping(command: dict[str, Any], context: Context) -> object:
        return context.later()

    kit.host(echo)
    saga_id = await kit.start(Ping)
    await kit.settle()
    await kit.replies.reply(saga_id, "ping", {"approved": True})
    assert (await kit.finish(saga_id)).data["approved"] is True


async def test_hosted_handlers_and_scripts_work_together(kit: EmbeddedSagas) -> None:
    bank = Participant("bank")

    @bank.action("Pay")
    async def pay(command: dict[str, Any], context: Context) -> None:
        raise StepFailed("declined")

    kit.host(bank)
    kit.participant("stock").completes("Reserve")
    assert (await kit.run(Order)).state == "failed"


async def test_on_the_real_clock_pauses_take_their_time() -> None:
    async with EmbeddedSagas(clock="real") as kit:
        kit.participant("echo").completes("Ping", after=timedelta(milliseconds=30))
        before = kit.now
        assert (await kit.run(Ping)).state == "completed"
        assert kit.now - before >= timedelta(milliseconds=30)
        with pytest.raises(ConfigurationError, match="time passes by itself here"):
            await kit.pass_time(minutes=1)


async def test_a_wait_that_takes_too_long_tells_the_story() -> None:
    async with EmbeddedSagas(clock="real", patience=0.2) as kit:
        kit.participant("echo").never_answers("Ping")
        with pytest.raises(ScenarioFailed, match=r"within 0\.2 s\n\nPing .* is started") as caught:
            await kit.run(Ping)
        assert "pending → executing" in str(caught.value)


async def test_an_action_of_which_nothing_is_said_fails_the_test(kit: EmbeddedSagas) -> None:
    kit.participant("echo").completes("Pong")
    with pytest.raises(ScenarioFailed, match=r"echo\.Ping was asked for by step ping, and no line"):
        await kit.run(Ping)


async def test_a_script_that_is_used_up_fails_the_test(kit: EmbeddedSagas) -> None:
    kit.participant("echo").never_answers("Ping", times=1)
    with pytest.raises(ScenarioFailed, match="more often than its script says"):
        await kit.run(Ping)


async def test_a_line_behind_one_for_ever_is_refused(kit: EmbeddedSagas) -> None:
    echo = kit.participant("echo").completes("Ping")
    with pytest.raises(ScenarioFailed, match="give that one its times="):
        echo.fails("Ping", "no")
    with pytest.raises(ScenarioFailed, match="times is 0; use 1 or more"):
        echo.completes("Pong", times=0)
    with pytest.raises(ScenarioFailed, match="copies is 0; use 1 or more"):
        echo.completes("Pong", copies=0)


async def test_a_result_that_cannot_be_computed_fails_the_test(kit: EmbeddedSagas) -> None:
    kit.participant("echo").completes("Ping", lambda data: {"twice": data["number"]})
    with pytest.raises(ScenarioFailed, match=r"result of echo\.Ping raised KeyError: 'number'"):
        await kit.run(Ping)


async def test_a_command_without_a_handler_fails_the_test(kit: EmbeddedSagas) -> None:
    echo = Participant("echo")

    @echo.action("Pong")
    async def pong(command: dict[str, Any], context: Context) -> None: ...

    kit.host(echo)
    with pytest.raises(ScenarioFailed, match=r"no command 'echo\.Ping'; it has Pong"):
        await kit.run(Ping)


async def test_a_program_that_breaks_down_fails_the_test_once(kit: EmbeddedSagas) -> None:
    echo = Participant("echo")

    @echo.prepare
    async def no_tables(connection: object) -> None:
        raise RuntimeError("no room for tables")

    kit.host(echo)
    with pytest.raises(RuntimeError, match="no room for tables"):
        await kit.run(Ping)


async def test_a_participant_is_either_hosted_or_scripted(kit: EmbeddedSagas) -> None:
    kit.host(Participant("echo"))
    with pytest.raises(ConfigurationError, match="echo is hosted"):
        kit.participant("echo")
    kit.participant("bank")
    with pytest.raises(ConfigurationError, match="bank is there already"):
        kit.host(Participant("bank"))


async def test_a_plan_that_is_wrong_is_refused_at_once(kit: EmbeddedSagas) -> None:
    with pytest.raises(DefinitionError, match="returned no step"):
        await kit.start(Ping, {"nothing": True})


async def test_ids_are_those_of_this_kit(kit: EmbeddedSagas) -> None:
    kit.participant("echo").completes("Ping")
    await kit.run(Ping, saga_id="ping-1")
    with pytest.raises(Conflict, match="there is a saga ping-1 already"):
        await kit.start(Ping, saga_id="ping-1")
    for look in (kit.show, kit.finish, kit.cancel):
        with pytest.raises(NotFound, match="there is no saga 'ping-2'"):
            await look("ping-2")


def test_a_kit_that_is_not_open_says_so() -> None:
    with pytest.raises(ConfigurationError, match="async with EmbeddedSagas"):
        EmbeddedSagas().participant("echo")
