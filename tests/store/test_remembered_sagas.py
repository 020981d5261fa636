"""What a store remembers of the sagas that it saved, and when it must not believe that."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from store.sagas import (
    advanced,
    any_saga,
    decided,
    insert,
    load,
    now,
    running,
    until_one_waits,
)

from orchestrator.saga.state import Saga, SagaState
from orchestrator.saga.written import Written
from orchestrator.store.postgres import PostgresStore
from orchestrator.store.remembered import Mark, Remembered

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARK = Mark(7, 1, NOON, "e")


def kept(*sagas: Saga, limit: int = 10) -> Remembered:
    """A memory of sagas that transaction 7 has written in epoch e."""
    remembered = Remembered(limit)
    remembered.keep([(7, saga) for saga in sagas], epoch="e")
    return remembered


def in_flight(saga_id: str = "one", **changes: object) -> Saga:
    return running(saga_id, NOON, **{"epochs": ("e",), **changes})


def test_a_saga_is_remembered_as_it_was_saved() -> None:
    saga = in_flight()
    assert kept(saga).get("one", MARK) is saga


@pytest.mark.parametrize(
    "other",
    [
        MARK._replace(xmin=8),
        MARK._replace(version=2),
        MARK._replace(updated_at=NOON + timedelta(microseconds=1)),
        MARK._replace(epoch="f"),
    ],
)
def test_a_row_that_somebody_else_has_written_is_not_believed(other: Mark) -> None:
    assert kept(in_flight()).get("one", other) is None


@pytest.mark.parametrize(
    "saga",
    [
        in_flight(state=SagaState.COMPLETED),
        in_flight(in_doubt=True),
        in_flight(epochs=("d",)),
        in_flight(data=Written({"text": "x" * 10_000})),
    ],
    ids=["ended", "in doubt", "of another epoch", "large"],
)
def test_a_saga_that_is_not_worth_it_is_forgotten(saga: Saga) -> None:
    remembered = kept(in_flight())
    remembered.keep([(7, saga)], epoch="e")
    assert not remembered.knows_any(["one"])


def test_the_sagas_saved_first_are_forgotten_first() -> None:
    remembered = kept(in_flight("a"), in_flight("b"), limit=2)
    remembered.keep([(7, in_flight("a")), (7, in_flight("c"))], epoch="e")
    assert [remembered.knows_any([name]) for name in "abc"] == [True, False, True]


@pytest.mark.postgres
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(saga=any_saga)
async def test_what_is_remembered_is_what_others_read(
    stores: tuple[PostgresStore, PostgresStore], saga: Saga
) -> None:
    first, second = stores
    async with first.transaction() as transaction:
        epoch = transaction.epoch
        mine = replace(saga, saga_id=str(uuid4()), epochs=(epoch,), state=SagaState.PENDING)
        await transaction.insert([decided(mine)])
    remembered, read = [await look(store, mine.saga_id) for store in (first, second)]
    assert remembered is mine
    assert remembered == read


@pytest.mark.postgres
async def test_what_another_store_has_saved_is_read(
    stores: tuple[PostgresStore, PostgresStore],
) -> None:
    first, second = stores
    await insert(first, running("one", await now(first)))
    for store in (second, first, first, second):
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["one"]))["one"]
            reason = f"{saga.cancel_reason or ''}+"
            await transaction.save([advanced(saga, transaction.now, cancel_reason=reason)])
    found = await load(first, "one")
    assert found is not None
    assert (found.version, found.cancel_reason) == (5, "++++")


@pytest.mark.postgres
async def test_what_another_store_saves_while_one_waits_for_the_lock_is_read(
    stores: tuple[PostgresStore, PostgresStore],
) -> None:
    first, second = stores
    await insert(first, running("one", await now(first)))
    async with second.transaction() as transaction:
        saga = (await transaction.lock(["one"]))["one"]
        waiting = asyncio.create_task(load(first, "one"))
        await until_one_waits(second)
        await transaction.save([advanced(saga, transaction.now, cancel_reason="late")])
    found = await waiting
    assert found is not None
    assert (found.version, found.cancel_reason) == (2, "late")


@pytest.mark.postgres
async def test_a_row_repaired_by_hand_is_read(
    stores: tuple[PostgresStore, PostgresStore], empty_database_url: str
) -> None:
    store, _ = stores
    await insert(store, running("one", await now(store)))
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute("UPDATE sagas SET cancel_reason = 'by hand'")
    found = await load(store, "one")
    assert found is not None
    assert found.cancel_reason == "by hand"


@pytest.mark.postgres
async def test_what_was_not_committed_is_not_remembered(
    stores: tuple[PostgresStore, PostgresStore],
) -> None:
    store, _ = stores
    await insert(store, running("one", await now(store)))

    async def save_in_vain() -> None:
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["one"]))["one"]
            await transaction.save([advanced(saga, transaction.now, cancel_reason="lost")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await save_in_vain()
    found = await load(store, "one")
    assert found is not None
    assert found.cancel_reason is None


async def look(store: PostgresStore, saga_id: str) -> Saga:
    async with store.transaction() as transaction:
        return (await transaction.lock([saga_id]))[saga_id]
