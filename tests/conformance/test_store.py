"""What every store promises: the port's docstrings, as tests. Both databases pass them all."""

import asyncio
import itertools
import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import text
from store.sagas import (
    MINUTE,
    advanced,
    any_saga,
    any_save,
    as_stored,
    decided,
    insert,
    insert_due,
    line,
    load,
    now,
    planned,
    requested,
    running,
)

from messaging.errors import ConfigurationError, Conflict
from orchestrator.saga.state import Outbound, OutboundKind, Saga, SagaState, Step, Verdict
from orchestrator.store.database import DatabaseStore
from orchestrator.store.engines import database_url_of, engine_for
from orchestrator.store.errors import StatementRejected
from orchestrator.store.port import StuckSagas
from orchestrator.store.queries import list_sagas, show_saga, state_of
from orchestrator.store.stores import store_for

pytest_plugins = ["conformance.store_fixtures"]

_KEPT_STORE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Trouble(Exception):
    """What goes wrong in a test."""


# --- what goes in comes out ------------------------------------------------------------


@_KEPT_STORE
@given(saga=any_saga)
async def test_a_saga_comes_back_as_it_was_inserted(store: DatabaseStore, saga: Saga) -> None:
    saga = replace(saga, saga_id=str(uuid4()))
    await insert(store, saga)
    assert await load(store, saga.saga_id) == saga


@_KEPT_STORE
@given(pair=any_save())
async def test_a_saga_comes_back_as_it_was_saved(
    store: DatabaseStore, pair: tuple[Saga, Saga]
) -> None:
    before, after = (replace(saga, saga_id=name) for name in [str(uuid4())] for saga in pair)
    await insert(store, before)
    async with store.transaction() as transaction:
        await transaction.lock([before.saga_id])
        await transaction.save([decided(after)])
    assert await load(store, before.saga_id) == after


# --- epochs ----------------------------------------------------------------------------


async def epoch_of(store: DatabaseStore) -> str:
    async with store.transaction() as transaction:
        return transaction.epoch


async def look(store: DatabaseStore, saga_id: str) -> Saga:
    async with store.transaction() as transaction:
        return (await transaction.lock([saga_id]))[saga_id]


async def test_the_epoch_stays_and_another_store_reads_the_same(
    store: DatabaseStore, database_url: str
) -> None:
    known = await epoch_of(store)
    assert known.isprintable()
    assert " " not in known
    again = store_for(database_url)
    assert await epoch_of(again) == await epoch_of(store) == known
    await again.close()


async def test_a_saga_saved_in_another_epoch_is_in_doubt_until_it_is_saved_again(
    store: DatabaseStore,
) -> None:
    at = await now(store)
    await insert(store, running("one", at, epochs=("0",)))
    saga = await look(store, "one")
    assert saga.in_doubt
    assert saga.epochs == ("0", await epoch_of(store))
    async with store.transaction() as transaction:
        await transaction.lock(["one"])
        await transaction.save([advanced(replace(saga, in_doubt=False), at)])
    assert not (await look(store, "one")).in_doubt
    assert (await look(store, "one")).epochs == saga.epochs


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": ()},
        {"epochs": ("0",), "steps": ()},
        {"epochs": ("0",), "state": SagaState.FAILED},
        {"epochs": ("0",), "state": SagaState.COMPLETED},
    ],
    ids=["from before epochs", "not planned", "failed", "completed"],
)
async def test_other_sagas_are_not_in_doubt(store: DatabaseStore, changes: Any) -> None:
    await insert(store, running("one", await now(store), **changes))
    assert not (await look(store, "one")).in_doubt
    async with store.transaction() as transaction:
        assert await transaction.wake_doubtful(9) == 0


async def test_sagas_in_doubt_are_woken_a_number_at_a_time(store: DatabaseStore) -> None:
    at, epoch = await now(store), await epoch_of(store)
    old = [running(name, at, epochs=("0",)) for name in ("a", "b", "c")]
    longer = running("d", at, epochs=(f"1{epoch}",))
    await insert(store, *old, longer, running("e", at, epochs=("0", epoch)))
    async with store.transaction() as transaction:
        assert await transaction.wake_doubtful(3) == 3
    async with store.transaction() as transaction:
        assert await transaction.wake_doubtful(3) == 1
        due = await transaction.lock_due(9, [])
    assert {saga.saga_id for saga in due} == {"a", "b", "c", "d"}
    assert all(saga.in_doubt for saga in due)


async def test_an_outbound_body_is_kept_byte_by_byte(store: DatabaseStore) -> None:
    body = '{"b": 1.50,  "a":"\\u00fc ü \\\\ \\"",\n"a": 1e2}'
    owed = Outbound(kind=OutboundKind.COMMAND, destination="A.B", body=body, cause=None)
    await insert(store, running("one", await now(store), outbound=(owed,)))
    saga = await load(store, "one")
    assert saga is not None
    assert saga.outbound[0].body.encode() == body.encode()


async def test_numbers_and_the_order_of_keys_are_kept(store: DatabaseStore) -> None:
    data = {"z": 1e22, "a": 4.704172995503558e16, "m": -0.0, "b": 1.0, "i": 2**63 - 1}
    await insert(store, running("one", await now(store), data=data))
    saga = await load(store, "one")
    assert saga is not None
    assert json.dumps(saga.data) == json.dumps(data)


async def test_sagas_that_do_not_exist_are_not_among_the_locked(store: DatabaseStore) -> None:
    await insert(store, running("one", await now(store)))
    async with store.transaction() as transaction:
        assert set(await transaction.lock(["two", "one", "three"])) == {"one"}
        assert await transaction.lock([]) == {}


async def test_data_that_did_not_change_is_kept(store: DatabaseStore) -> None:
    await insert(store, running("one", await now(store), data={"large": "x" * 100_000}))
    async with store.transaction() as transaction:
        saga = (await transaction.lock(["one"]))["one"]
        await transaction.save([advanced(saga, transaction.now)])
    kept = await load(store, "one")
    assert kept is not None
    assert (kept.version, kept.data, kept.steps) == (2, saga.data, saga.steps)


async def test_a_decision_that_changed_nothing_is_not_saved(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, running("one", at))
    async with store.transaction() as transaction:
        saga = (await transaction.lock(["one"]))["one"]
        changed = replace(advanced(saga, at), must_save=False, verdict=Verdict.DUPLICATE)
        await transaction.save([changed])
    assert await look(store, "one") == saga


async def test_time_goes_on_between_transactions(store: DatabaseStore) -> None:
    earlier, later = await now(store), await now(store)
    assert earlier < later
    assert earlier.utcoffset() == timedelta(0)


# --- insert ----------------------------------------------------------------------------


async def test_ids_that_are_taken_are_returned_and_nothing_of_theirs_is_stored(
    store: DatabaseStore,
) -> None:
    at = await now(store)
    await insert(store, running("b", at, data={"first": True}))
    newcomers = [running(saga_id, at, data={"first": False}) for saga_id in "cba"]
    async with store.transaction() as transaction:
        taken = await transaction.insert([decided(each, line(each, at)) for each in newcomers])
    assert set(taken) == {"b"}
    views = {saga_id: await show_saga(store, saga_id) for saga_id in "abc"}
    assert [(view.data["first"], len(view.history)) for view in views.values() if view] == [
        (False, 1),
        (True, 0),
        (False, 1),
    ]


async def test_of_two_that_insert_one_id_at_once_one_is_told_that_it_is_taken(
    store: DatabaseStore,
) -> None:
    at = await now(store)

    async def claim(name: str) -> set[str]:
        order = sorted(f"saga-{number}" for number in range(10))
        sagas = [running(each, at, data={"by": name}) for each in order]
        async with store.transaction() as transaction:
            ordered = sagas if name == "x" else sagas[::-1]
            return set(await transaction.insert([decided(saga) for saga in ordered]))

    first, second = await asyncio.gather(claim("x"), claim("y"))
    assert sorted([len(first), len(second)]) == [0, 10]


async def test_nothing_to_insert_is_no_trouble(store: DatabaseStore) -> None:
    async with store.transaction() as transaction:
        assert not await transaction.insert([])
        await transaction.save([])


# --- transactions ----------------------------------------------------------------------


async def test_an_error_rolls_everything_back(store: DatabaseStore) -> None:
    await insert(store, running("old", await now(store)))
    before = await load(store, "old")

    async def fail_at_the_end() -> None:
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["old"]))["old"]
            await transaction.insert([decided(running("new", transaction.now))])
            await transaction.save([advanced(saga, transaction.now)])
            raise Trouble

    with pytest.raises(Trouble):
        await fail_at_the_end()
    assert await load(store, "new") is None
    assert await load(store, "old") == before
    view = await show_saga(store, "old")
    assert view is not None
    assert view.history == ()


async def test_an_error_that_is_kept_quiet_still_rolls_back(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, running("old", at))

    async def commit_in_spite_of_it() -> None:
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["old"]))["old"]
            await transaction.save([advanced(saga, at)])
            with pytest.raises(StatementRejected):
                await transaction.insert([decided(running("x" * 201, at))])

    with pytest.raises(StatementRejected):
        await commit_in_spite_of_it()
    assert await load(store, "old") == running("old", at)


async def test_a_cancelled_transaction_leaves_nothing_behind(store: DatabaseStore) -> None:
    at = await now(store)
    has_inserted = asyncio.Event()

    async def never_ends() -> None:
        async with store.transaction() as transaction:
            await transaction.insert([decided(running("one", at))])
            has_inserted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ends())
    await has_inserted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await load(store, "one") is None


async def test_no_update_is_lost_among_many_at_once(store: DatabaseStore) -> None:
    await insert(store, running("one", await now(store), data={"count": 0}))

    async def count() -> None:
        async with store.transaction() as transaction:
            saga = (await transaction.lock(["one"]))["one"]
            data = {"count": saga.data["count"] + 1}
            await transaction.save([advanced(saga, transaction.now, data=data)])

    await asyncio.gather(*(count() for _ in range(20)))
    view = await show_saga(store, "one")
    assert view is not None
    assert (view.data, view.version) == ({"count": 20}, 21)
    assert [each.version for each in view.history] == list(range(2, 22))


async def test_batches_that_overlap_in_any_order_do_not_deadlock(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(store, *(running(saga_id, at) for saga_id in "abc"))

    async def advance(order: tuple[str, ...]) -> None:
        async with store.transaction() as transaction:
            found = await transaction.lock(order)
            assert list(found) == sorted(order)
            await transaction.save([advanced(found[saga_id], at) for saga_id in order])

    await asyncio.gather(*(advance(order) for order in itertools.permutations("abc")))
    assert [saga.version for saga_id in "abc" if (saga := await load(store, saga_id))] == [7] * 3


async def test_saving_a_saga_that_is_gone_is_a_conflict(store: DatabaseStore) -> None:
    saga = running("gone", await now(store))
    with pytest.raises(Conflict, match="1 of 1"):
        async with store.transaction() as transaction:
            await transaction.save([decided(saga)])


# --- the clock -------------------------------------------------------------------------


async def test_due_sagas_come_oldest_first_and_no_more_than_asked_for(
    store: DatabaseStore,
) -> None:
    async with store.transaction() as transaction:
        await insert_due(transaction, "c", "a", "b")
        future = running("later", transaction.now, resend_at=transaction.now + MINUTE)
        await transaction.insert([decided(future), decided(running("never", transaction.now))])
    async with store.transaction() as transaction:
        due = await transaction.lock_due(2, [])
        assert [saga.saga_id for saga in due] == ["c", "a"]
        assert [saga.saga_id for saga in await transaction.lock_due(9, [])] == ["c", "a", "b"]


async def test_a_deadline_of_a_step_wakes_the_saga(store: DatabaseStore) -> None:
    async with store.transaction() as transaction:
        step = Step(plan=planned(), deadline=transaction.now)
        await transaction.insert([decided(running("one", transaction.now, steps=(step,)))])
    async with store.transaction() as transaction:
        assert [saga.saga_id for saga in await transaction.lock_due(9, [])] == ["one"]


async def test_a_saga_to_be_planned_goes_only_to_those_who_know_its_type(
    store: DatabaseStore,
) -> None:
    at = await now(store)
    await insert(store, requested("order", at, "Order"), requested("trip", at, "Trip"))
    async with store.transaction() as transaction:
        assert not await transaction.lock_due(9, [])
        (trip,) = await transaction.lock_due(9, ["Trip", "Other"])
        assert as_stored(trip) == requested("trip", at, "Trip")
        steps = (Step(plan=planned(), deadline=at),)
        await transaction.save([advanced(trip, at, steps=steps, resend_at=None)])
    async with store.transaction() as transaction:
        (found,) = await transaction.lock_due(9, [])
    assert (found.saga_id, found.steps, found.version) == ("trip", steps, 1)


async def test_a_due_saga_goes_to_one_of_two_that_look_at_once(store: DatabaseStore) -> None:
    async with store.transaction() as transaction:
        await insert_due(transaction, "a", "b", "c", "d")

    async def take_two() -> list[str]:
        async with store.transaction() as transaction:
            due = await transaction.lock_due(2, [])
            await transaction.save(
                [advanced(saga, saga.updated_at, resend_at=None) for saga in due]
            )
            return [saga.saga_id for saga in due]

    taken = await asyncio.gather(take_two(), take_two())
    assert sorted(itertools.chain(*taken)) == ["a", "b", "c", "d"]


async def test_the_outlook_tells_the_next_moment_to_wake(store: DatabaseStore) -> None:
    assert (await store.outlook()).next_wake_at is None
    at = await now(store)
    moments = [at + 2 * MINUTE, at + MINUTE, None]
    await insert(store, *(running(f"{i}", at, resend_at=each) for i, each in enumerate(moments)))
    outlook = await store.outlook()
    assert outlook.next_wake_at == at + MINUTE
    assert not outlook.is_due
    assert at <= outlook.now < at + MINUTE


async def test_the_outlook_tells_whether_a_saga_is_due(store: DatabaseStore) -> None:
    assert not (await store.outlook()).is_due
    at = await now(store)
    await insert(store, running("due", at, resend_at=at))
    assert (await store.outlook()).is_due


async def test_the_outlook_is_of_the_epoch_that_transactions_are_in(store: DatabaseStore) -> None:
    async with store.transaction() as transaction:
        assert (await store.outlook()).epoch == transaction.epoch


async def test_what_nobody_takes_for_long_is_due_but_no_reason_to_wake(
    store: DatabaseStore,
) -> None:
    at = await now(store)
    await insert(store, requested("unknown", at - MINUTE, "Unheard"))
    outlook = await store.outlook()
    assert outlook.is_due
    assert outlook.next_wake_at is None


async def test_a_waiter_is_woken_by_a_commit_elsewhere(database_url: str) -> None:
    waiting, other = store_for(database_url), store_for(database_url)
    await waiting.upgrade()
    await _silence(waiting)
    waiter = asyncio.create_task(waiting.wait_for_due(30))
    await asyncio.sleep(0)
    began = time.monotonic()
    async with other.transaction() as transaction:
        await transaction.insert([decided(requested("one", transaction.now))])
        await transaction.notify()
    await waiter
    assert time.monotonic() - began < 2
    await waiting.close()
    await other.close()


async def test_a_notification_between_two_waits_is_not_lost(store: DatabaseStore) -> None:
    await _silence(store)
    async with store.transaction() as transaction:
        await transaction.notify()
    began = time.monotonic()
    await store.wait_for_due(30)
    assert time.monotonic() - began < 2


async def test_without_a_notification_the_wait_ends_in_time(store: DatabaseStore) -> None:
    await _silence(store)

    async def notify_and_fail() -> None:
        async with store.transaction() as transaction:
            await transaction.notify()
            raise Trouble

    with pytest.raises(Trouble):
        await notify_and_fail()
    began = time.monotonic()
    await store.wait_for_due(0.2)
    assert 0.19 < time.monotonic() - began < 2


async def _silence(store: DatabaseStore) -> None:
    """Until a wait lasts: a store may return early while it begins to listen."""
    async with asyncio.timeout(10):
        began = time.monotonic()
        await store.wait_for_due(0.15)
        while time.monotonic() - began < 0.14:
            began = time.monotonic()
            await store.wait_for_due(0.15)


# --- stuck -----------------------------------------------------------------------------


async def test_sagas_that_do_not_move_are_counted_by_type_and_state(store: DatabaseStore) -> None:
    at = await now(store)
    long_ago = at - 16 * MINUTE
    compensating = SagaState.COMPENSATING
    await insert(
        store,
        running("1", long_ago),
        running("2", long_ago, state=compensating),
        running("3", long_ago, state=compensating, resend_at=long_ago),
        running("waits", long_ago, resend_at=at + MINUTE),
        running("moves", at - MINUTE),
        running("ended", long_ago, state=SagaState.FAILED, ended_at=long_ago),
    )
    counts = {(each.saga_type, each.state): each.count for each in await store.stuck()}
    assert counts == {("Order", "started"): 1, ("Order", "compensating"): 2}
    assert StuckSagas(saga_type="Order", state="started", count=1) in await store.stuck()


async def test_sagas_that_wait_for_their_first_reply_are_counted(store: DatabaseStore) -> None:
    at = await now(store)
    await insert(
        store,
        running("1", at - MINUTE),
        running("2", at - MINUTE),
        running("answered", at - MINUTE, state=SagaState.PENDING),
        running("older", at - 16 * MINUTE),
    )
    assert await store.unanswered(within=5 * MINUTE, limit=10) == 2
    assert await store.unanswered(within=5 * MINUTE, limit=1) == 1
    assert await store.unanswered(within=20 * MINUTE, limit=10) == 3


# --- what a database cannot take -------------------------------------------------------


def _deep() -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(5000):
        data = {"d": data}
    return data


_UNTAKEABLE: dict[str, dict[str, Any]] = {
    "long id": {"saga_id": "x" * 201},
    "empty id": {"saga_id": ""},
    "surrogate in id": {"saga_id": "\ud800"},
    "nul": {"data": {"key": "a\0b"}},
    "surrogate": {"data": {"key": "\ud800"}},
    "not a number": {"data": {"key": float("nan")}},
    "no json": {"data": {"key": object()}},
    "too deep": {"data": _deep()},
    "too many digits": {"data": {"key": 10**5000}},
    "negative version": {"version": -1},
    "large version": {"version": 2**63},
}


@pytest.mark.parametrize("changes", _UNTAKEABLE.values(), ids=_UNTAKEABLE)
async def test_what_no_database_takes_is_rejected_and_the_store_goes_on(
    store: DatabaseStore, changes: dict[str, Any]
) -> None:
    at = await now(store)
    bad = replace(running("bad", at), **changes)
    with pytest.raises(StatementRejected):
        async with store.transaction() as transaction:
            await transaction.insert([decided(running("good", at)), decided(bad)])
    assert await load(store, "good") is None
    await insert(store, running("good", at))


async def test_an_escaped_backslash_before_u0000_is_no_nul(store: DatabaseStore) -> None:
    data = {"path": "C:\\u0000", "more": "\\\\u0000"}
    await insert(store, running("one", await now(store), data=data))
    saga = await load(store, "one")
    assert saga is not None
    assert saga.data == data


async def test_a_row_that_cannot_be_read_is_named_and_holds_up_nobody(
    store: DatabaseStore, database_url: str
) -> None:
    async with store.transaction() as transaction:
        await insert_due(transaction, "newer", "good")
    engine = engine_for(database_url_of(database_url))
    async with engine.begin() as connection:
        change = "UPDATE sagas SET steps = '[{\"status\":\"dreaming\"}]' WHERE saga_id = 'newer'"
        await connection.execute(text(change))
    await engine.dispose()
    async with store.transaction() as transaction:
        assert [saga.saga_id for saga in await transaction.lock_due(9, [])] == ["good"]
    with pytest.raises(StatementRejected, match="'newer'"):
        await load(store, "newer")


# --- the schema ------------------------------------------------------------------------


async def test_a_missing_schema_is_named_with_its_remedy(database_url: str) -> None:
    store = store_for(database_url)
    with pytest.raises(ConfigurationError, match="saga db upgrade"):
        await store.check()
    await store.upgrade()
    await store.check()
    await store.close()


# --- what people are shown -------------------------------------------------------------


async def test_a_saga_is_shown_with_the_contract_s_keys(store: DatabaseStore) -> None:
    at = await now(store)
    saga = running("one", at)
    later = advanced(saga, at, state=SagaState.PENDING)
    async with store.transaction() as transaction:
        await transaction.insert([decided(saga, line(saga, at, cause="m-1", actor="client"))])
    async with store.transaction() as transaction:
        await transaction.save([later])
    view = await show_saga(store, "one")
    assert view is not None
    shown = json.loads(json.dumps(view.to_json()))
    assert {
        *("saga_id", "saga_type", "state", "data", "steps", "history"),
        *("first_failure", "created_at", "updated_at"),
    } <= set(shown)
    assert {"name", "status", "attempts", "error"} <= set(shown["steps"][0])
    assert [(each["version"], each["from"], each["to"]) for each in shown["history"]] == [
        (1, "started", "started"),
        (2, "started", "pending"),
    ]
    assert (shown["history"][0]["cause"], shown["history"][0]["actor"]) == ("m-1", "client")
    assert shown["history"][0]["at"] == at.isoformat()


async def test_an_unknown_saga_is_nothing(store: DatabaseStore) -> None:
    assert await show_saga(store, "nobody") is None
    assert await state_of(store, "nobody") is None
    assert await list_sagas(store) == []


async def test_the_state_alone_can_be_asked_for(store: DatabaseStore) -> None:
    await insert(store, running("one", await now(store), state=SagaState.PENDING))
    assert await state_of(store, "one") == "pending"


async def test_sagas_are_listed_newest_first_and_by_state_type_and_stuckness(
    store: DatabaseStore,
) -> None:
    at = await now(store)
    await insert(
        store,
        running("old", at - 30 * MINUTE),
        running("older", at - 40 * MINUTE, state=SagaState.FAILED, saga_type="Trip"),
        running("new", at),
    )

    async def listed(**filters: Any) -> list[str]:
        return [each.saga_id for each in await list_sagas(store, **filters)]

    assert await listed() == ["new", "old", "older"]
    assert await listed(limit=1) == ["new"]
    assert await listed(limit=-3) == []
    assert await listed(state="failed") == ["older"]
    assert await listed(saga_type="Order", state="started") == ["new", "old"]
    assert await listed(stuck_after=20 * MINUTE) == ["old"]
    assert [each.is_stuck for each in await list_sagas(store)] == [False, True, False]
    assert json.loads(json.dumps([each.to_json() for each in await list_sagas(store)]))
