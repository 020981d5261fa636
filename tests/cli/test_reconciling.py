"""`saga reconcile`: what was left behind is told, and repaired where that is safe."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cli_stories import COMPLETED, FAILED, PAYING, REFUND_EXHAUSTED, after, stored
from command_lines import Saga, only_line, put
from sqlalchemy import text

from dlq_worker import letters
from messaging.contract import Effect, Reply, ReplyType
from orchestrator.saga.state import CompensationCompleted, ResolveRequested
from orchestrator.store.database import DatabaseStore
from orchestrator.store.purging import Purge, old_sagas
from participants.guard import Entry, State
from participants.sql_inbox import SqlInbox
from tests.dlq_worker.dlq_stories import letter
from tests.store.sagas import decided

STEPS = ("reserve_inventory", "process_payment", "create_shipment", "send_confirmation")
REASON = ("--reason", "standby promoted")


def entry(state: State, reply: Reply | None = None) -> Entry:
    return Entry(state=state, action_reply=reply)


@pytest.fixture
def inbox(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/inbox.sqlite"
    remember(url, "nobody", {})
    return url


def remember(url: str, saga_id: str, entries: Mapping[str, Entry]) -> None:
    async def perform() -> None:
        known = SqlInbox(url)
        await known.prepare([])
        for step, each in entries.items():
            async with known.claim(saga_id, step) as claim:
                await claim.save(each)
        await known.close()

    asyncio.run(perform())


def put_saga(
    database: str, saga_id: str, moments: tuple[object, ...], *, old: bool = False
) -> None:
    """With `old`, as another life of the database has left it."""

    async def perform(store: DatabaseStore) -> None:
        await stored(store, saga_id, moments)  # type: ignore[arg-type]
        if old:
            async with store.transaction() as transaction:
                saga = (await transaction.lock([saga_id]))[saga_id]
                await transaction.save([decided(replace(saga, epochs=("0",)))])

    put(database, perform)


def put_letter(database: str, saga_id: str) -> int:
    """Of a reply whose saga was unknown."""

    async def perform(store: DatabaseStore) -> int:
        kept = letter(
            "rejected.saga.replies",
            {"saga_id": saga_id, "step_name": STEPS[0], "result": {}},
            type="SagaStepCompleted",
            headers={"saga-reason": "unknown_saga", "saga-error": f"there is no saga {saga_id}"},
        )
        async with store.transaction() as transaction:
            number = await letters.keep(transaction, kept, is_repeated=False)
        assert number is not None
        return number

    return put(database, perform)


def kinds(saga: Saga, *arguments: str) -> list[tuple[str, str, str | None]]:
    found = saga("reconcile", *arguments, "-o", "json").value["findings"]
    return [(each["kind"], each["saga_id"], each["step_name"]) for each in found]


def test_where_all_agree_nothing_is_found(saga: Saga, database: str, inbox: str) -> None:
    put_saga(database, "order-1", COMPLETED)
    put_saga(database, "order-2", FAILED)
    put_saga(database, "order-3", PAYING)
    remember(inbox, "order-1", dict.fromkeys(STEPS, entry(State.DONE)))
    undone = Entry(state=State.COMPENSATED)
    remember(inbox, "order-2", {STEPS[0]: undone, STEPS[1]: undone, STEPS[2]: entry(State.FAILED)})
    remember(inbox, "order-3", {STEPS[0]: entry(State.DONE)})
    ran = saga("reconcile", "--inbox", inbox)
    assert ran.code == 0
    assert only_line(ran.out) == "nothing was left behind"


def test_without_inboxes_it_says_that_it_has_not_looked_there(saga: Saga, database: str) -> None:
    assert "inboxes were not looked at" in saga("reconcile").out


def test_a_saga_of_another_epoch_is_put_in_doubt(saga: Saga, database: str) -> None:
    put_saga(database, "order-1", PAYING, old=True)
    ran = saga("reconcile")
    assert ran.code == 3
    assert "1 finding, 1 of them safe to repair, 1 left" in ran.out
    assert kinds(saga) == [("in_doubt", "order-1", None)]
    repaired = saga("reconcile", "--repair", *REASON, "--by", "anna")
    assert repaired.code == 0
    shown = saga("show", "order-1", "-o", "json").value
    assert shown["state"] == "compensating"
    told = [line for line in shown["history"] if line["note"] == "lost: standby promoted"]
    assert [(line["actor"], line["cause"]) for line in told] == [("anna", "operator")]
    assert saga("reconcile").code == 0


def test_when_nothing_was_lost_sagas_go_on(saga: Saga, database: str) -> None:
    put_saga(database, "order-1", PAYING, old=True)
    ran = saga("reconcile", "--nothing-lost", "--reason", "planned switchover")
    assert ran.code == 0
    assert only_line(ran.out) == "1 saga: in doubt no more"
    assert saga("reconcile").code == 0
    shown = saga("show", "order-1", "-o", "json").value
    assert shown["state"] == "pending"
    assert shown["history"][-1]["note"] == "nothing is lost: planned switchover"


def test_what_no_epoch_shows_a_person_says(saga: Saga, database: str) -> None:
    put_saga(database, "order-1", PAYING)
    put_saga(database, "order-2", COMPLETED)
    ran = saga("reconcile", "--all-in-doubt", "--reason", "file put back", "-o", "json")
    assert ran.value["judged"] == 1
    assert saga("show", "order-1", "-o", "json").value["state"] == "compensating"
    assert saga("show", "order-2", "-o", "json").value["state"] == "completed"


def test_a_saga_that_had_completed_before_is_told(saga: Saga, database: str, inbox: str) -> None:
    put_saga(database, "order-1", PAYING, old=True)
    remember(inbox, "order-1", dict.fromkeys(STEPS, entry(State.DONE)))
    found = kinds(saga, "--inbox", inbox)
    assert found == [("in_doubt", "order-1", None), ("ended_before", "order-1", None)]


def test_a_saga_that_nobody_knows_is_told_from_inboxes_and_letters(
    saga: Saga, database: str, inbox: str
) -> None:
    put_letter(database, "order-8")
    remember(inbox, "order-9", {STEPS[0]: entry(State.DONE), STEPS[1]: entry(State.TOMBSTONE)})
    remember(inbox, "order-7", {STEPS[0]: entry(State.TOMBSTONE)})  # it left nothing behind
    found = kinds(saga, "--inbox", inbox)
    assert found == [("unknown_saga", "order-8", None), ("unknown_saga", "order-9", None)]
    assert saga("reconcile", "--inbox", inbox, "--repair", *REASON).code == 3


def test_letters_of_a_saga_that_was_started_again_are_closed(saga: Saga, database: str) -> None:
    put_letter(database, "order-1")
    put_saga(database, "order-1", PAYING)
    assert kinds(saga) == [("stale_letters", "order-1", None)]
    assert saga("reconcile", "--repair", *REASON, "--by", "anna").code == 0
    (closed,) = saga("dlq", "list", "--all", "-o", "json").value
    assert (closed["status"], closed["closed_by"]) == ("discarded", "anna")
    assert closed["closed_reason"] == "standby promoted"


def test_a_failed_saga_whose_effects_stand_is_opened_and_compensates_them(
    saga: Saga, database: str, inbox: str
) -> None:
    put_saga(database, "order-1", FAILED)
    standing = {STEPS[0]: entry(State.DONE), STEPS[1]: entry(State.UNKNOWN)}
    remember(inbox, "order-1", standing)
    assert kinds(saga, "--inbox", inbox) == [
        ("effect_stands", "order-1", STEPS[1]),
        ("effect_stands", "order-1", STEPS[0]),
    ]
    assert saga("reconcile", "--inbox", inbox, "--repair", *REASON, "--by", "anna").code == 0
    shown = saga("show", "order-1", "-o", "json").value
    assert shown["state"] == "compensating"
    statuses = {step["name"]: step["status"] for step in shown["steps"]}
    assert statuses[STEPS[0]] == statuses[STEPS[1]] == "compensating"
    assert any("standby promoted" in (line["note"] or "") for line in shown["history"])


def test_what_a_person_has_undone_is_left_to_people(saga: Saga, database: str, inbox: str) -> None:
    resolved = after(200, ResolveRequested(step=STEPS[1], reason="refunded", actor="anna"))
    released = after(201, CompensationCompleted(step=STEPS[0], cause="m6"))
    put_saga(database, "order-1", (*REFUND_EXHAUSTED, resolved, released))
    undone = Entry(state=State.COMPENSATED)
    remember(inbox, "order-1", {STEPS[0]: undone, STEPS[1]: entry(State.DONE)})
    ran = saga("reconcile", "--inbox", inbox, "--repair", *REASON)
    assert ran.code == 3
    assert "resolved it by hand" in ran.out
    assert saga("show", "order-1", "-o", "json").value["state"] == "failed"


def test_an_effect_that_the_failed_saga_knows_nothing_of_needs_a_person(
    saga: Saga, database: str, inbox: str
) -> None:
    put_saga(database, "order-1", FAILED)
    remember(inbox, "order-1", {"gift_wrap": entry(State.DONE)})
    assert kinds(saga, "--inbox", inbox) == [("effect_stands", "order-1", "gift_wrap")]
    assert saga("reconcile", "--inbox", inbox, "--repair", *REASON).code == 3


def test_a_definite_failure_does_not_stand(saga: Saga, database: str, inbox: str) -> None:
    put_saga(database, "order-1", FAILED)
    said_no = Reply(
        type=ReplyType.STEP_FAILED, saga_id="order-1", step_name=STEPS[2], error="no truck"
    )
    remember(inbox, "order-1", {STEPS[2]: entry(State.UNKNOWN, said_no)})
    assert kinds(saga, "--inbox", inbox) == []
    maybe = replace(said_no, effect=Effect.UNKNOWN)
    remember(inbox, "order-1", {STEPS[2]: entry(State.UNKNOWN, maybe)})
    assert kinds(saga, "--inbox", inbox) == [("effect_stands", "order-1", STEPS[2])]


def test_a_completed_saga_with_a_step_undone_needs_a_person(
    saga: Saga, database: str, inbox: str
) -> None:
    put_saga(database, "order-1", COMPLETED)
    remember(inbox, "order-1", {STEPS[1]: entry(State.COMPENSATED)})
    assert kinds(saga, "--inbox", inbox) == [("effect_missing", "order-1", STEPS[1])]
    assert saga("reconcile", "--inbox", inbox, "--repair", *REASON).code == 3
    assert saga("show", "order-1", "-o", "json").value["state"] == "completed"


def test_an_inbox_that_is_not_there_is_not_made(saga: Saga, database: str, tmp_path: Path) -> None:
    ran = saga("reconcile", "--inbox", f"sqlite:///{tmp_path}/none.sqlite")
    assert ran.code == 78
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--repair",), ("--nothing-lost", "--reason", " "), ("--repair", "--nothing-lost", *REASON)],
)
def test_a_change_needs_one_word_and_a_reason(
    saga: Saga, database: str, arguments: tuple[str, ...]
) -> None:
    assert saga("reconcile", *arguments).code == 2


@pytest.mark.parametrize(("days", "found"), [(10, 1), (1, 0)])
def test_sagas_that_may_have_been_purged_are_not_missed(
    saga: Saga, database: str, inbox: str, days: int, found: int
) -> None:
    """What the participant did two days ago, if sagas that ended `days` ago were purged."""
    remember(inbox, "order-1", {"reserve_inventory": entry(State.DONE)})

    async def age(known: SqlInbox) -> None:
        async with known.engine.begin() as connection:
            await connection.execute(
                text("UPDATE saga_inbox SET updated_at = datetime('now', '-2 days')")
            )
        await known.close()

    async def purge(store: DatabaseStore) -> None:
        await stored(store, "old", COMPLETED, began=timedelta(days=days + 1))
        old = old_sagas(completed=timedelta(days=days), failed=None)
        assert not await Purge(store, old, by="anna", reason="x").some(9)

    asyncio.run(age(SqlInbox(inbox)))
    put(database, purge)
    ran = saga("reconcile", "--inbox", inbox, "-o", "json")
    assert [each["kind"] for each in ran.value["findings"]] == ["unknown_saga"] * found
