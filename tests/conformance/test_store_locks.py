"""What every store promises of locks. Both databases pass them all."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from store.sagas import MINUTE, advanced, insert, load, now, planned, requested, running

from orchestrator.saga.locking import Admission, LockPolicy, LockRequest
from orchestrator.saga.state import Saga, SagaState, Step
from orchestrator.store.database import DatabaseStore
from orchestrator.store.errors import StatementRejected
from orchestrator.store.purging import Purge, old_sagas
from orchestrator.store.queries import list_sagas, show_saga
from orchestrator.store.tables import saga_locks

pytest_plugins = ["conformance.store_fixtures"]

GRANTED, WAITING = Admission.GRANTED, Admission.WAITING
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wish(saga_id: str, *names: str, place: int = 1, again: bool = False) -> LockRequest:
    return LockRequest(
        saga_id=saga_id,
        saga_type="Order",
        names=tuple(sorted(names)),
        policy=LockPolicy(),
        asked_at=EPOCH,
        place=place,
        is_in_line=again,
    )


async def claim(store: DatabaseStore, *wishes: LockRequest) -> Mapping[str, Admission]:
    async with store.transaction() as transaction:
        decided_on = await transaction.claim(wishes)
    return {saga_id: standing.admission for saga_id, standing in decided_on.items()}


async def wake(store: DatabaseStore) -> int:
    async with store.transaction() as transaction:
        return await transaction.wake_next_in_line(100)


async def lines(store: DatabaseStore) -> Collection[tuple[str, str, bool]]:
    async with store.reading() as connection:
        rows = (await connection.execute(sa.select(saga_locks))).all()
    return {(row.name, row.saga_id, row.held_at is not None) for row in rows}


def holding(saga_id: str, at: datetime) -> Saga:
    return running(saga_id, at, steps=(Step(plan=replace(planned(), locked=True)),))


def in_line(saga_id: str, at: datetime) -> Saga:
    return replace(requested(saga_id, at), version=1, resend_at=at + MINUTE)


async def end(store: DatabaseStore, saga_id: str) -> bool:
    """The saga completes; whether that moved any line."""
    async with store.transaction() as transaction:
        saga = (await transaction.lock([saga_id]))[saga_id]
        at = transaction.now
        await transaction.save([advanced(saga, at, state=SagaState.COMPLETED, ended_at=at)])
        return transaction.has_moved_lines


async def test_what_one_holds_the_next_waits_for(store: DatabaseStore) -> None:
    assert await claim(store, wish("one", "a", "b")) == {"one": GRANTED}
    assert await claim(store, wish("two", "b", "c", place=2)) == {"two": WAITING}
    assert await lines(store) == {
        ("a", "one", True),
        ("b", "one", True),
        ("b", "two", False),
        ("c", "two", False),
    }


async def test_one_batch_is_decided_in_turn(store: DatabaseStore) -> None:
    assert await claim(
        store, wish("one", "a"), wish("two", "a", place=2), wish("three", "c", place=3)
    ) == {"one": GRANTED, "two": WAITING, "three": GRANTED}


async def test_a_saga_that_ends_lets_go_in_the_same_transaction(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, holding("one", at))
    await claim(store, wish("one", "a"))
    assert await end(store, "one")
    assert await lines(store) == set()


async def test_rolled_back_it_still_holds_them(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, holding("one", at))
    await claim(store, wish("one", "a"))

    async def end_and_stumble() -> None:
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["one"]))["one"]
            over = advanced(saga, at, state=SagaState.COMPLETED, ended_at=at)
            await transaction.save([over])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await end_and_stumble()
    assert await lines(store) == {("a", "one", True)}


async def test_a_saga_without_locks_asks_nothing_when_it_ends(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, running("one", at))
    await claim(store, wish("one", "a"))  # as if by mistake: only the plan counts
    assert not await end(store, "one")
    assert await lines(store) == {("a", "one", True)}


async def test_who_is_next_is_woken_and_nobody_else(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(
        store,
        holding("one", at),
        *(in_line(each, at) for each in ("two", "three", "other")),
        holding("stays", at),
    )
    await claim(store, wish("one", "a"), wish("stays", "b"))
    await claim(store, wish("two", "a", place=2), wish("three", "a", place=3))
    await claim(store, wish("other", "a", "b", place=4))
    assert await wake(store) == 0
    await end(store, "one")
    assert await wake(store) == 1
    assert await wake(store) == 0  # it is due
    async with store.transaction() as transaction:
        [due] = await transaction.lock_due(10, ["Order"])
        assert due.saga_id == "two"
        granted = await transaction.claim([wish("two", "a", again=True)])
        assert granted["two"].admission is GRANTED
    assert ("a", "two", True) in await lines(store)


async def test_a_saga_in_line_keeps_its_place_and_its_names(store: DatabaseStore) -> None:
    await claim(store, wish("one", "a"), wish("two", "a", place=2), wish("three", "a", place=3))
    async with store.transaction() as transaction:
        await transaction.let_go(["one"])
    again = wish("three", "elsewhere", place=1, again=True)
    assert await claim(store, again) == {"three": WAITING}
    assert await claim(store, wish("three", again=True)) == {"three": WAITING}
    assert await claim(store, wish("nothing", again=True)) == {"nothing": GRANTED}
    assert await claim(store, wish("two", "a", place=9, again=True)) == {"two": GRANTED}


async def test_the_lines_of_sagas_that_are_over_are_cleared(store: DatabaseStore) -> None:
    at = await now(store)
    over = replace(holding("over", at), state=SagaState.FAILED, ended_at=at)
    await insert(store, holding("lives", at), over)
    await claim(store, wish("lives", "a"), wish("over", "b"), wish("unknown", "c"))
    assert await store.clear_locks() == 2
    assert await lines(store) == {("a", "lives", True)}


async def test_they_are_counted_by_type_and_with_the_age_of_the_oldest(
    store: DatabaseStore,
) -> None:
    assert await store.lock_counts() == []
    await claim(store, wish("one", "a", "b"), wish("two", "a", "b", place=2))
    [count] = await store.lock_counts()
    assert (count.saga_type, count.waiting) == ("Order", 1)
    assert timedelta(0) <= count.longest_held < MINUTE


async def test_who_waits_is_shown_with_whom_it_waits_for(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, holding("one", at), in_line("two", at), in_line("three", at))
    await claim(store, wish("one", "a"), wish("two", "a", place=2), wish("three", "a", place=3))
    shown = {each: await show_saga(store, each) for each in ("one", "two", "three")}
    found = {
        name: [(lock.is_held, lock.holder, lock.ahead) for lock in view.locks]
        for name, view in shown.items()
        if view
    }
    assert found == {
        "one": [(True, None, 0)],
        "two": [(False, "one", 0)],
        "three": [(False, "one", 1)],
    }
    waiting = {each.saga_id: each.waits_for for each in await list_sagas(store)}
    assert waiting == {"one": None, "two": "a", "three": "a"}


async def test_who_waits_is_neither_stuck_nor_an_unanswered_start(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, replace(in_line("one", at), updated_at=at - timedelta(hours=1)))
    assert await store.stuck() == []
    assert await store.unanswered(within=MINUTE, limit=10) == 0
    await insert(store, requested("two", at))
    assert await store.unanswered(within=MINUTE, limit=10) == 1


async def test_a_purge_leaves_no_lines(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, holding("one", at))
    await claim(store, wish("one", "a"))
    await end(store, "one")
    ages = {"completed": timedelta(0), "failed": timedelta(0)}
    purge = Purge(store, old_sagas(**ages), by="me", reason="test")
    while await purge.some(10):
        pass
    assert await load(store, "one") is None
    assert await lines(store) == set()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_nobody_waits_for_another_transaction(store: DatabaseStore) -> None:
    async with store.transaction() as first:
        mine = await first.claim([wish("one", "a"), wish("two", "b", place=2)])
        async with store.transaction() as second:
            theirs = await second.claim([wish("three", "a", "c", place=3), wish("four", "d")])
    assert [each.admission for each in mine.values()] == [GRANTED, GRANTED]
    assert theirs["three"].admission is Admission.UNDECIDED
    assert theirs["four"].admission is GRANTED
    assert await claim(store, wish("three", "a", "c", again=True)) == {"three": WAITING}


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_the_table_itself_has_no_place_for_a_second_holder(store: DatabaseStore) -> None:
    await claim(store, wish("one", "a"))
    row = {"name": "a", "saga_id": "two", "saga_type": "Order", "place": 1}

    async def hold_as_well() -> None:
        async with store.transaction() as transaction:
            moments = {"asked_at": transaction.now, "held_at": transaction.now}
            await transaction.execute(sa.insert(saga_locks), {**row, **moments})

    with pytest.raises(StatementRejected, match="ix_saga_locks_holder"):
        await hold_as_well()
