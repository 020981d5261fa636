"""What ended long ago is deleted, what a person is needed for is kept, and it is told."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from store.sagas import advanced, now, running
from store.sagas import insert as put

from chassis.facts import Fact, Noticed, Purged
from dlq_worker.alerts import close_alert
from dlq_worker.letters import close
from dlq_worker.purging import letters_purge, old_letters
from dlq_worker.statuses import Status
from dlq_worker.tables import alert_deliveries, alerts, dead_letter_actions, dead_letters
from orchestrator.saga.state import SagaState
from orchestrator.store.database import DatabaseStore
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.purging import Purge, count_kept, count_old, old_sagas
from orchestrator.store.queries import show_saga, state_of
from orchestrator.store.rounds import repeat_rounds
from orchestrator.store.tables import purges, saga_history, sagas
from tests.cli.cli_stories import COMPLETED, FAILED, REFUND_EXHAUSTED, letter_of, stored

pytest_plugins = ["conformance.store_fixtures"]

DAY = timedelta(days=1)


def purge_of(store: DatabaseStore, **more: Any) -> Purge:
    old = old_sagas(completed=30 * DAY, failed=180 * DAY)
    return Purge(store, old, **{"by": "anna", "reason": "disk is full", **more})


async def purged(purge: Purge, limit: int = 100) -> dict[str, int]:
    while await purge.some(limit):
        pass
    return dict(purge.deleted)


async def count(store: DatabaseStore, table: Any) -> int:
    async with store.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def records(store: DatabaseStore) -> list[Any]:
    async with store.reading() as connection:
        return list((await connection.execute(select(purges).order_by(purges.c.id))).all())


async def closed(store: DatabaseStore, letter_id: int, since: timedelta) -> None:
    """The letter and its alert, closed so long ago."""
    async with store.transaction() as transaction:
        await close(transaction, letter_id, Status.RESOLVED, by="anna", reason="refunded")
        row = select(dead_letters.c.alert_key).where(dead_letters.c.id == letter_id)
        await close_alert(transaction, (await transaction.execute(row)).scalar_one())
        at = {"closed_at": transaction.now - since}
        await transaction.execute(dead_letters.update().values(at))
        await transaction.execute(alerts.update().values(**at, next_send_at=None))


async def test_sagas_go_when_they_ended_long_ago_each_state_in_its_own_time(
    store: DatabaseStore,
) -> None:
    await stored(store, "old", COMPLETED, began=31 * DAY)
    await stored(store, "new", COMPLETED, began=29 * DAY)
    await stored(store, "failed", FAILED, began=179 * DAY)
    await stored(store, "long-failed", FAILED, began=181 * DAY)
    await stored(store, "open", (), began=400 * DAY)
    assert await count_old(store, SagaState.COMPLETED, 30 * DAY) == 1
    assert await purged(purge_of(store)) == {"completed": 1, "failed": 1}
    names = ("old", "long-failed", "new", "failed", "open")
    left = [await state_of(store, name) for name in names]
    assert left == [None, None, "completed", "failed", "started"]


async def test_the_history_goes_with_the_saga_and_nobody_elses(store: DatabaseStore) -> None:
    await stored(store, "old", COMPLETED, began=31 * DAY)
    await stored(store, "new", COMPLETED)
    kept = await show_saga(store, "new")
    purge = purge_of(store)
    await purged(purge)
    assert await show_saga(store, "new") == kept
    assert kept is not None
    assert await count(store, saga_history) == len(kept.history) == purge.lines


async def test_for_ever_is_for_ever(store: DatabaseStore) -> None:
    await stored(store, "old", COMPLETED, began=4000 * DAY)
    purge = Purge(store, old_sagas(completed=None, failed=None), by="anna", reason="x")
    assert await purged(purge) == {}
    assert await state_of(store, "old") == "completed"


async def test_a_saga_that_has_still_something_to_send_is_kept(store: DatabaseStore) -> None:
    at = await now(store)
    then = at - 400 * DAY
    await put(store, running("one", then, state=SagaState.COMPLETED, ended_at=then, resend_at=then))
    assert await purged(purge_of(store)) == {"completed": 0, "failed": 0}


async def test_a_purge_is_recorded_with_who_when_and_why(store: DatabaseStore) -> None:
    for number in range(5):
        await stored(store, f"old-{number}", COMPLETED, began=(40 + number) * DAY)
    purge = purge_of(store)
    assert await purge.some(2)
    (record,) = await records(store)
    assert (record.deleted, await count(store, sagas)) == (2, 3)
    await purged(purge, 2)
    (record,) = await records(store)
    assert (record.by, record.reason, record.kind) == ("anna", "disk is full", "completed")
    assert (record.deleted, record.lines) == (5, purge.lines)
    assert timedelta() < await now(store) - record.at < DAY
    assert abs(record.at - record.before - 30 * DAY) < DAY


async def test_a_round_that_finds_nothing_leaves_no_record(store: DatabaseStore) -> None:
    assert await purged(purge_of(store)) == {"completed": 0, "failed": 0}
    assert await records(store) == []


async def test_the_oldest_go_first_and_no_more_than_asked_for(store: DatabaseStore) -> None:
    for name, days in (("b", 50), ("a", 60), ("c", 40)):
        await stored(store, name, COMPLETED, began=days * DAY)
    assert await purge_of(store).some(1)
    assert [await state_of(store, name) for name in "abc"] == [None, "completed", "completed"]


async def test_a_saga_with_an_open_dead_letter_is_kept(store: DatabaseStore) -> None:
    saga = await stored(store, "halted", REFUND_EXHAUSTED, began=400 * DAY)
    letter_id = await letter_of(store, saga)
    then = (await now(store)) - 399 * DAY
    async with store.transaction() as transaction:
        locked = (await transaction.lock(["halted"]))["halted"]
        ended = advanced(locked, then, state=SagaState.FAILED, ended_at=then, steps=())
        await transaction.save([ended])
    ages = {SagaState.FAILED: 180 * DAY, SagaState.COMPLETED: 30 * DAY}
    assert await purged(purge_of(store)) == {"completed": 0, "failed": 0}
    assert await count_kept(store, ages) == 1
    await closed(store, letter_id, 400 * DAY)
    assert await count_kept(store, ages) == 0
    assert await purged(purge_of(store)) == {"completed": 0, "failed": 1}


async def test_a_saga_whose_alert_nobody_has_acknowledged_is_kept(store: DatabaseStore) -> None:
    saga = await stored(store, "halted", REFUND_EXHAUSTED)
    letter_id = await letter_of(store, saga, is_alerted=True)
    await closed(store, letter_id, 400 * DAY)
    await stored(store, "other", FAILED, began=400 * DAY)
    async with store.transaction() as transaction:
        await transaction.execute(dead_letters.update().values(saga_id="other"))
        await transaction.execute(alerts.update().values(status="open"))
    assert await purged(purge_of(store)) == {"completed": 0, "failed": 0}
    assert await purged(letters_purge(store, 180 * DAY)) == {"alert": 0, "dead_letter": 0}
    async with store.transaction() as transaction:
        await transaction.execute(alerts.update().values(status="closed"))
    assert await purged(purge_of(store)) == {"completed": 0, "failed": 1}


async def test_closed_letters_go_with_their_alert_and_all_that_was_done(
    store: DatabaseStore,
) -> None:
    saga = await stored(store, "order-1", REFUND_EXHAUSTED)
    letter_id = await letter_of(store, saga, is_alerted=True)
    assert await purged(letters_purge(store, 180 * DAY)) == {"alert": 0, "dead_letter": 0}
    await closed(store, letter_id, 179 * DAY)
    assert await purged(letters_purge(store, 180 * DAY)) == {"alert": 0, "dead_letter": 0}
    await closed(store, letter_id, 181 * DAY)
    async with store.transaction() as transaction:
        sent = {"alert_id": 1, "round": 1, "sink": "log", "is_resolved": False, "ok": True}
        more = {"attempts": 1, "begun_at": transaction.now}
        await transaction.execute(insert(alert_deliveries).values(**sent, **more))
    assert await purged(letters_purge(store, 180 * DAY)) == {"alert": 1, "dead_letter": 1}
    for table in (dead_letters, dead_letter_actions, alerts, alert_deliveries):
        assert await count(store, table) == 0
    assert [(each.kind, each.by) for each in await records(store)] == [
        ("alert", "dlq worker"),
        ("dead_letter", "dlq worker"),
    ]
    assert await state_of(store, "order-1") == "compensating"


async def test_an_alert_whose_end_is_still_to_be_told_is_kept_with_its_letter(
    store: DatabaseStore,
) -> None:
    saga = await stored(store, "order-1", REFUND_EXHAUSTED)
    await closed(store, await letter_of(store, saga, is_alerted=True), 400 * DAY)
    async with store.transaction() as transaction:
        await transaction.execute(alerts.update().values(next_send_at=transaction.now))
    for limit in (1, 100):
        purge = Purge(store, old_letters(180 * DAY), by="anna", reason="x")
        assert await purged(purge, limit) == {"alert": 0, "dead_letter": 0}


async def test_rounds_go_on_until_nothing_old_is_left_and_tell_what_they_did(
    store: DatabaseStore,
) -> None:
    for number in range(3):
        await stored(store, f"old-{number}", COMPLETED, began=40 * DAY)
    facts: list[Fact] = []
    stopping = asyncio.Event()

    def observe(fact: Fact) -> None:
        facts.append(fact)
        if len(facts) == 2:
            stopping.set()

    async with asyncio.timeout(20):
        every = timedelta(milliseconds=1)
        await repeat_rounds(lambda: purge_of(store), stopping, observe, every=every)
    counts = [fact.deleted for fact in facts if isinstance(fact, Purged)]
    assert counts == [{"completed": 3, "failed": 0}, {"completed": 0, "failed": 0}]


async def test_rounds_survive_a_database_that_is_away(closed_port_url: str) -> None:
    store = PostgresStore(closed_port_url)
    stopping = asyncio.Event()
    facts: list[Fact] = []

    def observe(fact: Fact) -> None:
        facts.append(fact)
        if isinstance(fact, Purged):
            stopping.set()

    await repeat_rounds(lambda: purge_of(store), stopping, observe)
    await store.close()
    (told,) = [fact for fact in facts if isinstance(fact, Noticed)]
    assert (told.level, "could not be purged" in told.message) == ("warning", True)


@pytest.mark.postgres
async def test_rows_that_somebody_holds_are_passed_over(empty_database_url: str) -> None:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    for name in ("a", "b"):
        await stored(store, name, COMPLETED, began=40 * DAY)
    async with store.transaction() as transaction:
        await transaction.lock(["a"])
        assert await purged(purge_of(store)) == {"completed": 1, "failed": 0}
    assert [await state_of(store, name) for name in "ab"] == ["completed", None]
    assert await purged(purge_of(store)) == {"completed": 1, "failed": 0}
    await store.close()


@pytest.mark.postgres
async def test_of_many_workers_one_purges_at_a_time(empty_database_url: str) -> None:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    await stored(store, "old", COMPLETED, began=40 * DAY)
    async with store.transaction() as transaction:
        assert await transaction.is_alone(0x5A9A_9061)
        assert await purged(purge_of(store, gives_way=True)) == {}
        async with store.aside() as other:
            assert await purged(purge_of(other)) == {"completed": 1, "failed": 0}
    await store.close()


@pytest.mark.postgres
async def test_work_aside_has_connections_of_its_own(empty_database_url: str) -> None:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    async with store.aside() as other, other.reading() as connection, store.reading() as first:
        pids = {await each.scalar(text("SELECT pg_backend_pid()")) for each in (first, connection)}
    assert len(pids) == 2
    await store.close()


_SLOWLY = """
    CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END $$;
    CREATE TRIGGER slowly BEFORE DELETE ON sagas FOR EACH ROW EXECUTE FUNCTION slowly();
"""


@pytest.mark.postgres
async def test_what_is_too_much_for_one_statement_is_done_in_smaller_parts(
    empty_database_url: str,
) -> None:
    store = PostgresStore(empty_database_url)
    await store.upgrade()
    for number in range(20):
        await stored(store, f"old-{number}", COMPLETED, began=40 * DAY)
    async with store.transaction() as transaction:
        await transaction.execute(text(_SLOWLY))
    hurried = PostgresStore(f"{empty_database_url}?options=-c%20statement_timeout%3D100ms")
    stopping = asyncio.Event()
    facts: list[Fact] = []

    def observe(fact: Fact) -> None:
        facts.append(fact)
        stopping.set()

    await repeat_rounds(lambda: purge_of(hurried), stopping, observe)
    assert [fact.deleted for fact in facts if isinstance(fact, Purged)] == [
        {"completed": 20, "failed": 0}
    ]
    assert await count(store, sagas) == 0
    for each in (store, hurried):
        await each.close()
