"""What every inbox promises: claims exclude each other, and are stored whole or not at all."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from messaging.contract import Effect, Reply, ReplyType
from participants.guard import Entry, State
from participants.inbox import RETENTION, Inbox
from tests.conformance.inbox_fixtures import inbox

__all__ = ["inbox"]

DONE = Reply(
    type=ReplyType.STEP_COMPLETED,
    saga_id="order-1",
    step_name="charge",
    result={"text": "Zoë 🙂", "nested": [{"n": 1}, None, 1.5], "empty": {}},
)
FAILED = Reply(
    type=ReplyType.STEP_FAILED,
    saga_id="order-1",
    step_name="charge",
    error="no",
    retryable=False,
    effect=Effect.UNKNOWN,
)
BUSY = Reply(
    type=ReplyType.STEP_FAILED,
    saga_id="order-1",
    step_name="charge",
    error="busy",
    retryable=True,
    attempt=3,
)
UNDONE = Reply(type=ReplyType.COMPENSATION_COMPLETED, saga_id="order-1", step_name="charge")


async def stored(inbox: Inbox, saga_id: str = "order-1", step_name: str = "charge") -> Entry | None:
    async with inbox.claim(saga_id, step_name) as claim:
        return claim.entry


async def store(
    inbox: Inbox, entry: Entry, saga_id: str = "order-1", step_name: str = "charge"
) -> None:
    async with inbox.claim(saga_id, step_name) as claim:
        await claim.save(entry)


async def test_an_unknown_step_has_no_entry(inbox: Inbox) -> None:
    assert await stored(inbox) is None


@pytest.mark.parametrize("state", [State.UNKNOWN, State.LATER])
async def test_an_entry_without_a_reply_knows_when_its_step_was_first_heard_of(
    inbox: Inbox, state: State
) -> None:
    await store(inbox, Entry(state=state, epoch="3-16389"))
    entry = await stored(inbox)
    assert entry is not None
    assert (entry.state, entry.action_reply, entry.epoch) == (state, None, "3-16389")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("reply", [DONE, FAILED, BUSY], ids=["completed", "failed", "busy"])
async def test_an_entry_comes_back_as_it_was_saved(
    inbox: Inbox, state: State, reply: Reply
) -> None:
    entry = Entry(state=state, action_reply=reply, compensation_reply=UNDONE)
    await store(inbox, entry)
    assert await stored(inbox) == entry


async def test_a_reply_keeps_its_epoch(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.DONE, action_reply=replace(DONE, epoch="1-2-3")))
    entry = await stored(inbox)
    assert entry is not None
    assert entry.action_reply is not None
    assert entry.action_reply.epoch == "1-2-3"


async def test_replies_that_are_not_there_stay_none(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.LATER))
    assert await stored(inbox) == Entry(state=State.LATER)


async def test_a_later_save_replaces_the_entry(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.DONE, action_reply=DONE))
    await store(inbox, Entry(state=State.TOMBSTONE, compensation_reply=UNDONE))
    assert await stored(inbox) == Entry(state=State.TOMBSTONE, compensation_reply=UNDONE)


async def test_the_last_save_of_a_claim_counts(inbox: Inbox) -> None:
    async with inbox.claim("order-1", "charge") as claim:
        await claim.save(Entry(state=State.UNKNOWN))
        await claim.save(Entry(state=State.DONE, action_reply=DONE))
    assert await stored(inbox) == Entry(state=State.DONE, action_reply=DONE)


async def test_a_claim_left_without_a_save_stores_nothing(inbox: Inbox) -> None:
    async with inbox.claim("order-1", "charge"):
        pass
    assert await stored(inbox) is None


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_claim_left_by_an_error_stores_nothing(
    inbox: Inbox, error: type[BaseException]
) -> None:
    async def leave_by_error() -> None:
        async with inbox.claim("order-1", "charge") as claim:
            await claim.save(Entry(state=State.DONE, action_reply=DONE))
            raise error

    with pytest.raises(error):
        await leave_by_error()
    assert await stored(inbox) is None


async def test_steps_and_sagas_do_not_mix(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.DONE), "order-1", "charge")
    await store(inbox, Entry(state=State.FAILED), "order-1", "ship")
    assert await stored(inbox, "order-1", "charge") == Entry(state=State.DONE)
    assert await stored(inbox, "order-1", "ship") == Entry(state=State.FAILED)
    assert await stored(inbox, "order-2", "charge") is None


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_step_is_held_by_one_claim_at_a_time(inbox: Inbox, is_known: bool) -> None:
    """Also when there is no entry yet: an action and its compensation must not pass."""
    if is_known:
        await store(inbox, Entry(state=State.DONE))
    order: list[str] = []

    async def second() -> Entry | None:
        order.append("second asks")
        async with inbox.claim("order-1", "charge") as claim:
            order.append("second holds")
            return claim.entry

    async with inbox.claim("order-1", "charge") as claim:
        waiting = asyncio.create_task(second())
        while not order:
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        order.append("first saves")
        await claim.save(Entry(state=State.COMPENSATED))
    assert await waiting == Entry(state=State.COMPENSATED)
    assert order == ["second asks", "first saves", "second holds"]


async def test_who_waits_for_a_step_that_is_given_up_finds_it_empty(inbox: Inbox) -> None:
    async with AsyncExitStack() as held:
        await held.enter_async_context(inbox.claim("order-1", "charge"))
        waiting = asyncio.create_task(stored(inbox))
        await asyncio.sleep(0)
    assert await waiting is None


async def test_many_claims_of_one_step_all_get_their_turn(inbox: Inbox) -> None:
    async def count() -> None:
        async with inbox.claim("order-1", "charge") as claim:
            before = claim.entry.action_reply.result if _has_reply(claim.entry) else {"n": 0}
            reply = Reply(
                type=ReplyType.STEP_COMPLETED,
                saga_id="order-1",
                step_name="charge",
                result={"n": before["n"] + 1},
            )
            await claim.save(Entry(state=State.DONE, action_reply=reply))

    await asyncio.gather(*(count() for _ in range(30)))
    entry = await stored(inbox)
    assert entry is not None
    assert entry.action_reply is not None
    assert entry.action_reply.result == {"n": 30}


async def test_preparing_again_harms_nothing(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.DONE))
    await asyncio.gather(*(inbox.prepare(()) for _ in range(4)))
    assert await stored(inbox) == Entry(state=State.DONE)


async def test_an_inbox_that_works_answers_a_ping(inbox: Inbox) -> None:
    await inbox.ping()


async def test_old_entries_are_purged(inbox: Inbox) -> None:
    for number in range(3):
        await store(inbox, Entry(state=State.DONE), f"order-{number}")
    assert await inbox.purge(timedelta(0)) == 3
    assert await stored(inbox, "order-1") is None


async def test_young_entries_are_kept(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.TOMBSTONE))
    assert await inbox.purge(RETENTION) == 0
    assert await stored(inbox) == Entry(state=State.TOMBSTONE)


@pytest.mark.parametrize("state", [State.LATER, State.COMPENSATING])
async def test_entries_that_await_an_answer_are_kept(inbox: Inbox, state: State) -> None:
    await store(inbox, Entry(state=state))
    assert await inbox.purge(timedelta(0)) == 0
    assert await stored(inbox) == Entry(state=state)


async def test_a_step_that_is_held_is_not_purged(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.DONE))
    async with inbox.claim("order-1", "charge") as claim:
        purging = asyncio.create_task(inbox.purge(timedelta(0)))
        await asyncio.wait({purging}, timeout=0.2)
        await claim.save(Entry(state=State.COMPENSATING))
    await purging
    assert await stored(inbox) == Entry(state=State.COMPENSATING)


def _has_reply(entry: Entry | None) -> bool:
    return entry is not None and entry.action_reply is not None
