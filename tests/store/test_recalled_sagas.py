"""Sagas that were decided from memory are stored where nothing has changed, and nowhere else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from store.recalling import Stores, begun, move, move_under_lock, moved, recall, slow_move, told
from store.sagas import (
    any_save,
    as_stored,
    decided,
    line,
    load,
    now,
    planned,
    running,
    until_one_waits,
)

from orchestrator.saga.state import Saga, SagaState, Step
from orchestrator.store import recalled
from orchestrator.store.errors import StatementRejected
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.recalled import Reading, last_reading

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.postgres


# --- what is stored --------------------------------------------------------------------


async def test_rows_are_stored_with_their_history_and_their_next_mark(stores: Stores) -> None:
    first, second = stores
    await begun(first, "one", "two")
    for version in (2, 3):
        assert await move(first, "one", "two", "three") == {"one", "two"}
        assert recall(first, "one").sagas["one"].version == version
    for saga_id in ("one", "two"):
        assert await told(second, saga_id) == ("quick", [2, 3])


async def test_new_sagas_are_stored_but_for_ids_that_are_taken(stores: Stores) -> None:
    first, second = stores
    await begun(second, "one")
    at = await now(first)
    found = recall(first, "one", "two", "three")
    sagas = [
        running(saga_id, at, cancel_reason="mine", epochs=(found.epoch,))
        for saga_id in ("two", "one", "three")
    ]
    stored = await found.save([decided(saga, line(saga, at)) for saga in sagas], ())
    assert stored == {"two", "three"}
    assert await told(second, "one") == (None, [])
    assert await told(second, "three") == ("mine", [1])
    assert await move(first, "one", "two", "three") == {"two", "three"}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(save=any_save())
async def test_what_is_saved_at_once_is_what_others_read(
    stores: Stores, save: tuple[Saga, Saga]
) -> None:
    first, second = stores
    async with first.transaction() as transaction:
        known = {"saga_id": str(uuid4()), "epochs": (transaction.epoch,)}
        before = replace(save[0], **known, state=SagaState.PENDING)
        await transaction.insert([decided(before)])
    after = replace(save[1], **known, ended_at=None)
    found = recall(first, before.saga_id)
    if found.sagas:  # else its data are too large to be kept
        assert await found.save((), [decided(after)]) == {after.saga_id}
        assert await load(second, after.saga_id) == as_stored(after)


async def test_a_saga_that_lets_go_of_locks_is_left_to_a_transaction(stores: Stores) -> None:
    first, _ = stores
    async with first.transaction() as transaction:
        steps = (Step(plan=replace(planned(), locked=True)),)
        saga = running("one", transaction.now, steps=steps, epochs=(transaction.epoch,))
        await transaction.insert([decided(saga)])
    found = recall(first, "one")
    ended = moved(found, state=SagaState.COMPLETED, ended_at=found.now)
    assert not await found.save((), ended)
    assert await move(first, "one") == {"one"}


# --- what is not -----------------------------------------------------------------------


async def test_what_somebody_else_has_changed_is_not_stored(stores: Stores) -> None:
    first, second = stores
    await begun(first, "one", "two")
    found = recall(first, "one", "two")
    await move_under_lock(second, "one", reason="other")
    assert await found.save((), moved(found, cancel_reason="quick")) == {"two"}
    assert await told(first, "one") == ("other", [2])
    assert await told(first, "two") == ("quick", [2])


@pytest.mark.parametrize("change", ["updated_at = updated_at", "version = 2", "data = data"])
async def test_what_was_written_by_hand_is_not_stored(
    stores: Stores, empty_database_url: str, change: str
) -> None:
    first, _ = stores
    await begun(first, "one")
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute(f"UPDATE sagas SET {change}".encode())
    assert not await move(first, "one")


@pytest.mark.parametrize("other", [{"xmin": 3}, {"version": 2}, {"updated_at": NOON}])
async def test_a_row_is_known_by_the_whole_of_its_mark(
    stores: Stores, other: dict[str, Any]
) -> None:
    """Numbers of transactions that a crash has lost are given again."""
    first, _ = stores
    await begun(first, "one")
    mark, saga = first._remembered._known["one"]
    first._remembered._known["one"] = mark._replace(**other), saga
    assert not await move(first, "one")
    assert await told(first, "one") == (None, [])


async def test_what_changes_when_the_statement_has_begun_is_not_stored(
    stores: Stores, empty_database_url: str
) -> None:
    """It sees the row as it was, and asks for it as it is."""
    first, _ = stores
    await begun(first, "one", "two")
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(7)")
        moving = await slow_move(first, "one", "two")
        await connection.execute("UPDATE sagas SET cancel_reason = 'hand' WHERE saga_id = 'one'")
    assert await moving == {"two"}
    assert await told(first, "one") == ("hand", [])


async def test_a_row_that_somebody_has_locked_is_not_waited_for(
    stores: Stores, empty_database_url: str
) -> None:
    first, _ = stores
    await begun(first, "one", "two")
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute("SELECT 1 FROM sagas WHERE saga_id = 'one' FOR UPDATE")
        assert await move(first, "one", "two") == {"two"}
    assert await told(first, "one") == (None, [])


async def test_an_id_that_is_just_being_stored_is_waited_for(stores: Stores) -> None:
    first, second = stores
    await now(first)
    async with second.transaction() as transaction:
        saga = running("one", transaction.now, epochs=(transaction.epoch,))
        await transaction.insert([decided(saga)])
        found = recall(first, "one")
        mine = decided(replace(saga, cancel_reason="mine"), line(saga, found.now))
        saving = asyncio.create_task(found.save([mine], ()))
        await until_one_waits(second)
    assert not await saving
    assert await told(first, "one") == (None, [])


async def test_in_another_epoch_nothing_is_stored(stores: Stores) -> None:
    first, _ = stores
    await begun(first, "one")
    found = recall(first, "one", "two")
    found.epoch = "another"
    new = decided(running("two", found.now, epochs=("another",)))
    assert not await found.save([new], moved(found))
    assert await load(first, "two") is None
    assert await told(first, "one") == (None, [])


@pytest.mark.parametrize("seconds", [-2, 2])
async def test_a_decision_of_another_moment_is_not_stored(stores: Stores, seconds: int) -> None:
    """This process stood still, or one of the clocks was set."""
    first, _ = stores
    await begun(first, "one")
    found = recall(first, "one", "two")
    found.now += timedelta(seconds=seconds)
    new = decided(running("two", found.now, epochs=(found.epoch,)))
    assert not await found.save([new], moved(found))
    assert await load(first, "two") is None
    assert await told(first, "one") == (None, [])


async def test_what_the_database_rejects_is_not_stored_and_the_next_is(stores: Stores) -> None:
    first, _ = stores
    await begun(first, "one", "two")
    with pytest.raises(StatementRejected):
        await move(first, "one", "two", reason="NUL\0")
    assert await told(first, "two") == (None, [])
    assert await move(first, "one", "two") == {"one", "two"}


async def test_of_many_who_move_the_same_sagas_no_move_is_lost(stores: Stores) -> None:
    """At once where they can, under locks where not; each move is a version of its own."""
    first, second = stores
    sagas = ["one", "two", "three"]
    await begun(first, *sagas)
    await now(second)

    async def keep_moving(store: PostgresStore) -> tuple[int, int]:
        at_once = 0
        for _ in range(30):
            stored = await move(store, *sagas)
            at_once += len(stored)
            for saga_id in {*sagas} - {*stored}:
                await move_under_lock(store, saga_id)
        return at_once, 30 * len(sagas)

    moves = await asyncio.gather(*map(keep_moving, [first, first, second, second]))
    versions = [(await told(first, saga_id))[1] for saga_id in sagas]
    assert versions == [list(range(2, len(each) + 2)) for each in versions]
    assert sum(map(len, versions)) == sum(total for _, total in moves)
    assert sum(at_once for at_once, _ in moves) > 0


# --- when there is nothing to go by ----------------------------------------------------


async def test_before_the_clock_was_read_nothing_is_recalled(stores: Stores) -> None:
    first, second = stores
    await begun(second, "one")
    assert first.recalled({"one"}) is None
    await now(first)
    assert recall(first, "one").sagas == {}


async def test_a_reading_is_believed_for_ten_seconds(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = stores
    await begun(first, "one")
    passed = 9.0
    monkeypatch.setattr(recalled, "monotonic", lambda: monotonic() + passed)
    later = recall(first, "one").now
    passed = 11.0
    assert first.recalled({"one"}) is None
    assert timedelta(seconds=8) < later - await now(first) < timedelta(seconds=9.5)
    monkeypatch.undo()
    assert await move(first, "one") == {"one"}


async def test_what_is_stored_says_what_time_it_is(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = stores
    await begun(first, "one")
    before = first._reading
    assert await move(first, "one")
    assert before is not None
    assert first._reading is not None
    assert first._reading.now > before.now


def test_an_answer_that_was_long_on_the_way_does_not_tell_the_time() -> None:
    asked_at = monotonic() - 1
    known = Reading(NOON, "e", asked_at - 2)
    slow = Reading(NOON, "e", asked_at)
    quick = Reading(NOON, "f", monotonic())
    assert last_reading(None, slow) is None
    assert last_reading(known, slow) is known
    assert last_reading(known, slow._replace(epoch="f")) is None
    assert last_reading(known, quick) is quick


async def test_who_is_not_alone_looks_until_the_rows_are_its_own_again(stores: Stores) -> None:
    first, second = stores
    await begun(first, "one")
    await move_under_lock(second, "one")
    assert not await move(first, "one")
    assert not recall(first, "one").sagas
    await move_under_lock(first, "one")  # it finds what the other one wrote
    assert not recall(first, "one").sagas
    await move_under_lock(first, "one")  # and now what it wrote itself
    assert await move(first, "one") == {"one"}
