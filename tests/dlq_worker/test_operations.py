"""What people do about dead letters changes the saga, and leaves their name."""

import asyncio

import pytest
from dlq_stories import (
    FORWARD_EXHAUSTED,
    GATEWAY_DOWN,
    NAMES,
    PAST_PIVOT,
    PAYING,
    REFUND_FAILED,
    SAGA,
    command_letter,
    delivered,
    exhausted,
    happened,
    letter,
    stored_saga,
)

from dlq_worker import letters
from dlq_worker.alerts import call_person, count_interventions
from dlq_worker.letter import DeadLetter, read_letter
from dlq_worker.listing import LetterFilter, list_letters, show_letter
from dlq_worker.operations import Done, acknowledge, discard, resolve, retry
from dlq_worker.statuses import Severity, Status
from messaging.errors import NotFound, Refused
from orchestrator.saga.state import CompensationCompleted, SagaState, StepStatus, TimeReached
from orchestrator.store.database import DatabaseStore
from orchestrator.store.queries import show_saga

pytest_plugins = ["conformance.store_fixtures"]

ANY = LetterFilter(statuses=None)


async def kept(store: DatabaseStore, dead: DeadLetter) -> int:
    async with store.transaction() as transaction:
        letter_id = await letters.keep(transaction, dead, is_repeated=False)
    assert letter_id
    return letter_id


async def exhausted_letter(store: DatabaseStore) -> int:
    """A saga whose refund has failed, and its letter."""
    saga = await stored_saga(store, *REFUND_FAILED)
    return await kept(store, read_letter(delivered(exhausted(saga)), NAMES))


async def status_of(store: DatabaseStore, letter_id: int) -> Status:
    return (await show_letter(store, letter_id)).view.stored.status


async def step_status(store: DatabaseStore, name: str) -> str:
    view = await show_saga(store, SAGA)
    assert view
    return next(step.status for step in view.steps if step.name == name)


async def test_a_retry_gives_the_step_a_new_budget_and_the_clock_sends_it(
    store: DatabaseStore,
) -> None:
    letter_id = await exhausted_letter(store)
    (done,) = await retry(store, [letter_id], reason="gateway is back", by="anna")
    assert done == Done(
        letter_id=letter_id, message="the orchestrator sends the command of step pay again"
    )
    assert await step_status(store, "pay") == StepStatus.COMPENSATING
    async with store.transaction() as transaction:
        (due,) = await transaction.lock_due(10, [])
    assert due.saga_id == SAGA, "the clock looks at it at once"
    saga = await happened(store, TimeReached())
    assert [owed.destination for owed in saga.outbound if owed.step == "pay"] == [
        "PaymentService.RefundPayment"
    ]
    assert await status_of(store, letter_id) is Status.REPLAYING, "it is not done yet"
    last = (await show_letter(store, letter_id)).actions[-1]
    assert (last.action, last.by, last.reason) == ("retried", "anna", "gateway is back")


async def test_a_retry_is_in_the_history_of_the_saga_with_who_and_why(
    store: DatabaseStore,
) -> None:
    letter_id = await exhausted_letter(store)
    await retry(store, [letter_id], reason="gateway is back", by="anna")
    view = await show_saga(store, SAGA)
    assert view
    assert (view.history[-1].actor, view.history[-1].note) == (
        "anna",
        "retried by hand: gateway is back",
    )


@pytest.mark.parametrize("word", ["retry", "resolve"])
async def test_the_orchestrators_that_wait_are_woken(word: str, store: DatabaseStore) -> None:
    letter_id = await exhausted_letter(store)
    await store.wait_for_due(0.1)  # begins to listen
    await store.wait_for_due(0.1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = asyncio.create_task(store.wait_for_due(20))
    if word == "retry":
        await retry(store, [letter_id], reason="r", by="anna")
    else:
        await resolve(store, letter_id, reason="r", by="anna")
    await waiting
    assert loop.time() - began < 10


async def test_a_resolve_closes_the_letter_and_lets_the_saga_go_on(store: DatabaseStore) -> None:
    letter_id = await exhausted_letter(store)
    done = await resolve(store, letter_id, reason="refunded by phone", by="anna")
    assert done.message == "step pay is done; saga order-42 is compensating"
    assert await step_status(store, "pay") == StepStatus.COMPENSATED
    assert await step_status(store, "reserve") == StepStatus.COMPENSATING, "the next one back"
    details = await show_letter(store, letter_id)
    assert details.view.stored.status is Status.RESOLVED
    assert (details.view.stored.closed_by, details.view.stored.closed_reason) == (
        "anna",
        "refunded by phone",
    )


@pytest.mark.parametrize("word", ["resolve", "discard"])
async def test_what_a_person_closes_is_no_longer_alerted(word: str, store: DatabaseStore) -> None:
    letter_id = await kept(store, letter("late_success", {"saga_id": SAGA, "step_name": "ship"}))
    async with store.transaction() as transaction:
        stored = await letters.lock_letter(transaction, letter_id)
        assert stored
        await call_person(transaction, stored, "why", Severity.CRITICAL)
    assert await count_interventions(store) == 1
    await {"resolve": resolve, "discard": discard}[word](store, letter_id, reason="r", by="anna")
    assert await count_interventions(store) == 0


async def test_a_step_past_the_pivot_is_resolved_with_its_result(store: DatabaseStore) -> None:
    saga = await stored_saga(store, *FORWARD_EXHAUSTED, plan=PAST_PIVOT)
    letter_id = await kept(store, read_letter(delivered(exhausted(saga)), NAMES))
    await resolve(store, letter_id, reason="r", by="anna", result={"truck": "7"})
    view = await show_saga(store, SAGA)
    assert view
    assert view.state == SagaState.COMPLETED
    assert view.data["truck"] == "7"


async def test_an_exhausted_action_is_retried_too(store: DatabaseStore) -> None:
    saga = await stored_saga(store, *FORWARD_EXHAUSTED, plan=PAST_PIVOT)
    letter_id = await kept(store, read_letter(delivered(exhausted(saga)), NAMES))
    await retry(store, [letter_id], reason="r", by="anna")
    assert await step_status(store, "ship") == StepStatus.EXECUTING


async def test_a_letter_that_a_saga_waits_for_cannot_be_discarded(store: DatabaseStore) -> None:
    letter_id = await exhausted_letter(store)
    with pytest.raises(Refused, match=r"waits.*saga dlq resolve"):
        await discard(store, letter_id, reason="r", by="anna")
    assert await status_of(store, letter_id) is Status.OPEN


async def test_an_awaited_command_or_reply_cannot_be_discarded_either(
    store: DatabaseStore,
) -> None:
    await stored_saga(store, *PAYING)
    command = await kept(store, command_letter())
    reply = await kept(
        store,
        letter(
            "saga.replies",
            {"saga_id": SAGA, "step_name": "pay", "result": {}},
            type="SagaStepCompleted",
        ),
    )
    for letter_id in (command, reply):
        with pytest.raises(Refused, match="waits"):
            await discard(store, letter_id, reason="r", by="anna")


async def test_when_the_saga_has_moved_on_the_letter_can_be_discarded(
    store: DatabaseStore,
) -> None:
    letter_id = await exhausted_letter(store)
    await happened(store, CompensationCompleted(step="pay"))
    await discard(store, letter_id, reason="late answer", by="anna")
    assert await status_of(store, letter_id) is Status.DISCARDED


async def test_what_is_closed_stays_closed(store: DatabaseStore) -> None:
    letter_id = await kept(store, letter("rejected.saga.replies", b"{"))
    await discard(store, letter_id, reason="noise", by="anna")
    told = f"{letter_id} is discarded already, by anna: noise"
    with pytest.raises(Refused, match=told):
        await retry(store, [letter_id], reason="r", by="b")
    with pytest.raises(Refused, match=told):
        await resolve(store, letter_id, reason="r", by="b")
    with pytest.raises(Refused, match=told):
        await discard(store, letter_id, reason="r", by="b")


@pytest.mark.parametrize("letter_id", [0, -1, 999, 2**70])
async def test_a_number_that_no_letter_has_is_not_found(
    letter_id: int, store: DatabaseStore
) -> None:
    with pytest.raises(NotFound, match=str(letter_id)):
        await show_letter(store, letter_id)
    with pytest.raises(NotFound, match=str(letter_id)):
        await retry(store, [letter_id], reason="r", by="b")
    with pytest.raises(NotFound, match=str(letter_id)):
        await acknowledge(store, letter_id, by="b")


async def test_of_many_retries_one_that_is_refused_holds_no_other(store: DatabaseStore) -> None:
    good = await exhausted_letter(store)
    closed = await kept(store, letter("rejected.saga.replies", b"{"))
    await discard(store, closed, reason="noise", by="anna")
    with pytest.raises(Refused, match=f"the others were retried: {good}"):
        await retry(store, [closed, good, 999], reason="r", by="anna")
    assert await step_status(store, "pay") == StepStatus.COMPENSATING


async def test_a_saga_that_does_not_allow_it_is_the_reason_for_a_refusal(
    store: DatabaseStore,
) -> None:
    letter_id = await exhausted_letter(store)
    await happened(store, CompensationCompleted(step="pay"))
    with pytest.raises(Refused, match="step pay is compensated"):
        await retry(store, [letter_id], reason="r", by="anna")
    with pytest.raises(Refused, match="step pay is compensated"):
        await resolve(store, letter_id, reason="r", by="anna")


async def test_a_rejected_message_is_marked_for_the_worker_to_send(store: DatabaseStore) -> None:
    dead = letter("rejected.saga.replies", b"{}", type="SagaStepCompleted")
    letter_id = await kept(store, dead)
    (done,) = await retry(store, [letter_id], reason="fixed", by="anna")
    assert done.message == "the dlq worker sends it to saga.replies again"
    assert (await show_letter(store, letter_id)).view.stored.send_requested


@pytest.mark.parametrize(
    "dead",
    [
        letter("late_success", {"saga_id": SAGA, "step_name": "pay"}, type="late_success"),
        letter("rejected.saga.replies", b"{}"),
        letter("rejected.saga.replies", b"{}", type="Nonsense"),
        letter("whatever", b"{}", type="SagaStepCompleted"),
        letter("rejected.saga.replies", b"x" * (2**21 + 1), type="SagaStepCompleted"),
        command_letter("rejected.saga.commands.InventoryService"),
    ],
    ids=["late success", "no type", "unknown type", "no queue", "cut", "not its own command"],
)
async def test_what_has_no_way_back_is_refused(dead: DeadLetter, store: DatabaseStore) -> None:
    letter_id = await kept(store, dead)
    with pytest.raises(Refused, match="cannot be sent again"):
        await retry(store, [letter_id], reason="r", by="anna")
    await resolve(store, letter_id, reason="seen to", by="anna")
    assert await status_of(store, letter_id) is Status.RESOLVED


@pytest.mark.parametrize(("reason", "by"), [("", "anna"), ("  ", "anna"), ("r", ""), ("r", " ")])
async def test_nobody_changes_anything_without_a_name_and_a_reason(
    reason: str, by: str, store: DatabaseStore
) -> None:
    letter_id = await exhausted_letter(store)
    with pytest.raises(Refused, match="who changes this by hand, and why"):
        await resolve(store, letter_id, reason=reason, by=by)


async def test_hostile_reasons_are_stored_harmlessly(store: DatabaseStore) -> None:
    letter_id = await kept(store, letter("rejected.saga.replies", b"{"))
    await discard(store, letter_id, reason="a\x00\x1b[2J\ud800", by="o'\"; drop table x--")
    shown = (await show_letter(store, letter_id)).view.stored
    assert shown.closed_reason == r"a\x00\x1b[2J\ud800"
    assert shown.closed_by == "o'\"; drop table x--"


async def test_a_result_no_database_takes_is_refused_and_changes_nothing(
    store: DatabaseStore,
) -> None:
    saga = await stored_saga(store, *FORWARD_EXHAUSTED, plan=PAST_PIVOT)
    letter_id = await kept(store, read_letter(delivered(exhausted(saga)), NAMES))
    with pytest.raises(Refused):
        await resolve(store, letter_id, reason="r", by="a", result={"x": "\x00"})
    assert await step_status(store, "ship") == StepStatus.FAILED
    assert await status_of(store, letter_id) is Status.OPEN


async def test_letters_are_listed_by_what_is_asked_for(store: DatabaseStore) -> None:
    one = await exhausted_letter(store)
    other = await kept(store, letter("rejected.saga.replies", b"{"))
    await discard(store, other, reason="noise", by="anna")

    async def ids(wanted: LetterFilter | None = None, limit: int = 100) -> list[int]:
        return [view.id for view in await list_letters(store, wanted, limit=limit)]

    assert await ids() == [one]
    assert await ids(ANY) == [other, one]
    assert await ids(ANY, limit=1) == [other]
    assert await ids(ANY, limit=-1) == []
    assert await ids(LetterFilter(statuses=frozenset({Status.DISCARDED}))) == [other]
    assert await ids(LetterFilter(reason="compensation_exhausted")) == [one]
    assert await ids(LetterFilter(saga_id=SAGA, saga_type="Order", step_name="pay")) == [one]
    assert await ids(LetterFilter(saga_type="Other")) == []


async def test_the_json_of_a_letter_has_the_keys_of_the_contract(store: DatabaseStore) -> None:
    letter_id = await exhausted_letter(store)
    (view,) = await list_letters(store)
    shown = view.to_json()
    contract = {"id", "reason", "saga_id", "saga_type", "step_name", "error", "status", "replays"}
    assert contract | {"first_seen", "last_seen"} <= shown.keys()
    assert (shown["id"], shown["error"]) == (letter_id, GATEWAY_DOWN)
    details = (await show_letter(store, letter_id)).to_json()
    assert shown.keys() < details.keys()
    assert '"card":"4111"' in details["body"]
