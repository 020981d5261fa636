"""What people see of locks: who holds them, who waits, and for whom."""

from dataclasses import replace

from cli_stories import ORDER_PLAN, stored
from command_lines import Saga, put

from orchestrator.backoff import retry_delay
from orchestrator.saga.locking import WAIT, LockRequest, begin_under_locks
from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.start import requested
from orchestrator.store.database import DatabaseStore


async def put_two_over_one_order(store: DatabaseStore) -> None:
    """`first` holds the lock, and `second` waits."""
    plan = [replace(ORDER_PLAN[0], locked=True), *ORDER_PLAN[1:]]
    await stored(store, "first", plan=plan)
    async with store.transaction() as transaction:
        saga = requested(
            saga_id="second",
            saga_type="OrderFulfillment",
            data={},
            input_digest="",
            now=transaction.now,
        )
        requests = [
            LockRequest(
                saga_id=saga_id,
                saga_type=saga.saga_type,
                names=("order:42",),
                policy=WAIT,
                asked_at=transaction.now,
                place=place,
            )
            for place, saga_id in enumerate(["first", "second"])
        ]
        standings = await transaction.claim(requests)
        decision = begin_under_locks(
            saga,
            plan,
            standings["second"],
            on_exhausted=OnExhausted.HALT,
            now=transaction.now,
            delay=retry_delay,
            cause="m0",
        )
        await transaction.insert([decision])


def test_the_page_says_who_holds_a_lock_and_who_waits_for_it(saga: Saga, database: str) -> None:
    put(database, put_two_over_one_order)
    lines = {line.partition("  ")[0]: line for line in saga("show", "first").out.splitlines()}
    assert "order:42 since " in lines["Holds"]
    page = saga("show", "second").out
    waiting = next(line for line in page.splitlines() if line.startswith("Waits for"))
    assert waiting.endswith(", held by first")
    assert "→ waiting for saga first to end: lock order:42" in page
    assert "waits for order:42, behind saga first" in page
    [next_one] = saga("show", "second", "-o", "json").value["next"]
    assert next_one["waiting_for"] == "lock"


def test_a_list_says_for_what_a_saga_waits(saga: Saga, database: str) -> None:
    put(database, put_two_over_one_order)
    listed = {each["saga_id"]: each for each in saga("list", "-o", "json").value}
    assert listed["second"]["waits_for"] == "order:42"
    assert listed["first"]["waits_for"] is None
    assert not listed["second"]["is_stuck"]
    assert "waits for order:42" in saga("list").out


def test_who_is_cancelled_while_it_waits_leaves_its_place(saga: Saga, database: str) -> None:
    put(database, put_two_over_one_order)
    assert saga("cancel", "second", "--reason", "not any more").code == 0
    view = saga("show", "second", "-o", "json").value
    assert (view["state"], view["locks"]) == ("failed", [])
