"""What every inbox promises of many claims at once: stored together, or not at all."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from messaging.errors import Conflict
from participants.guard import Entry, State
from participants.inbox import Inbox, Key
from tests.conformance.inbox_fixtures import inbox
from tests.conformance.test_inbox import BUSY, DONE, UNDONE, store, stored

__all__ = ["inbox"]

CHARGE, SHIP, OTHER = Key("order-1", "charge"), Key("order-1", "ship"), Key("order-2", "charge")
DIVISIBLE = pytest.mark.parametrize("is_divisible", [False, True])


@DIVISIBLE
async def test_new_and_known_steps_are_stored_together(inbox: Inbox, is_divisible: bool) -> None:
    await store(inbox, Entry(state=State.DONE, action_reply=DONE))
    async with inbox.claim_all({CHARGE, SHIP}, is_divisible=is_divisible) as claims:
        assert claims[CHARGE].entry == Entry(state=State.DONE, action_reply=DONE)
        assert claims[SHIP].entry is None
        await claims[CHARGE].save(
            Entry(state=State.COMPENSATED, action_reply=DONE, compensation_reply=UNDONE)
        )
        await claims[SHIP].save(Entry(state=State.FAILED, action_reply=BUSY))
    known = await stored(inbox)
    assert known == Entry(state=State.COMPENSATED, action_reply=DONE, compensation_reply=UNDONE)
    new = await stored(inbox, "order-1", "ship")
    assert new is not None
    assert new.state is State.FAILED
    assert new.action_reply is not None
    assert (new.action_reply.error, new.action_reply.attempt) == ("busy", 3)


async def test_a_shared_claim_knows_what_was_saved(inbox: Inbox) -> None:
    async with inbox.claim_all({CHARGE}, is_divisible=False) as claims:
        await claims[CHARGE].save(Entry(state=State.UNKNOWN))
        assert claims[CHARGE].entry == Entry(state=State.UNKNOWN)
        await claims[CHARGE].save(Entry(state=State.DONE, action_reply=DONE))
    assert await stored(inbox) == Entry(state=State.DONE, action_reply=DONE)


async def test_steps_without_a_save_stay_as_they_were(inbox: Inbox) -> None:
    await store(inbox, Entry(state=State.DONE, action_reply=DONE))
    async with inbox.claim_all({CHARGE, SHIP, OTHER}, is_divisible=True) as claims:
        await claims[OTHER].save(Entry(state=State.LATER))
    assert await stored(inbox) == Entry(state=State.DONE, action_reply=DONE)
    assert await stored(inbox, "order-1", "ship") is None
    assert await stored(inbox, "order-2", "charge") == Entry(state=State.LATER)


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_claims_left_by_an_error_store_nothing(
    inbox: Inbox, error: type[BaseException]
) -> None:
    with suppress(error):
        async with inbox.claim_all({CHARGE, SHIP}, is_divisible=False) as claims:
            await claims[CHARGE].save(Entry(state=State.DONE))
            await claims[SHIP].save(Entry(state=State.DONE))
            raise error
    assert await stored(inbox) is None
    assert await stored(inbox, "order-1", "ship") is None


async def test_of_two_that_claim_new_steps_at_once_one_sees_the_other(inbox: Inbox) -> None:
    """It waits, or is told of the conflict; it never stores over what it has not seen."""
    seen: list[Entry | None] = []

    async def second() -> None:
        async with inbox.claim_all({SHIP, CHARGE}, is_divisible=False) as claims:
            seen.append(claims[CHARGE].entry)
            await claims[CHARGE].save(Entry(state=State.COMPENSATED))

    is_first_stored = False
    with suppress(Conflict):
        async with inbox.claim_all({CHARGE, OTHER}, is_divisible=False) as claims:
            waiting = asyncio.create_task(second())
            await asyncio.wait({waiting}, timeout=0.1)
            await claims[CHARGE].save(Entry(state=State.DONE))
            await claims[OTHER].save(Entry(state=State.DONE))
        is_first_stored = True
    await waiting
    assert seen == [Entry(state=State.DONE) if is_first_stored else None]
    assert await stored(inbox) == Entry(state=State.COMPENSATED)
    assert (await stored(inbox, "order-2", "charge") is not None) is is_first_stored


async def test_claims_that_overlap_all_get_their_turn(inbox: Inbox) -> None:
    """In any order, without a deadlock, and without losing one count."""
    steps = [Key("order-1", f"step-{number}") for number in range(6)]

    async def count(number: int) -> None:
        while True:
            with suppress(Conflict):
                async with inbox.claim_all(steps[number : number + 3], is_divisible=True) as claims:
                    for claim in claims.values():
                        await claim.save(_counted(claim.entry))
                return

    await asyncio.gather(*(count(number % 4) for number in range(24)))
    counts = [await stored(inbox, *step) for step in steps]
    assert [_count_in(entry) for entry in counts] == [6, 12, 18, 18, 12, 6]


def _counted(entry: Entry | None) -> Entry:
    reply = replace(DONE, result={"n": _count_in(entry) + 1})
    return Entry(state=State.DONE, action_reply=reply)


def _count_in(entry: Entry | None) -> int:
    reply = entry.action_reply if entry else None
    return reply.result["n"] if reply and reply.result else 0


async def test_new_steps_are_stored_without_a_look(inbox: Inbox) -> None:
    async with inbox.claim_new({CHARGE, SHIP, OTHER}) as claims:
        assert [claims[key].entry for key in (CHARGE, SHIP, OTHER)] == [None, None, None]
        await claims[CHARGE].save(Entry(state=State.DONE, action_reply=DONE))
        await claims[SHIP].save(Entry(state=State.FAILED, action_reply=BUSY))
    assert await stored(inbox) == Entry(state=State.DONE, action_reply=DONE)
    assert await stored(inbox, "order-1", "ship") is not None
    assert await stored(inbox, "order-2", "charge") is None


async def test_of_new_steps_none_is_stored_if_one_is_there(inbox: Inbox) -> None:
    known = Entry(state=State.COMPENSATED, compensation_reply=UNDONE)
    await store(inbox, known)
    assert not await _store_new(inbox)
    assert await stored(inbox) == known
    assert await stored(inbox, "order-1", "ship") is None


async def test_new_steps_left_by_an_error_are_not_stored(inbox: Inbox) -> None:
    with suppress(ZeroDivisionError):
        async with inbox.claim_new({CHARGE}) as claims:
            await claims[CHARGE].save(Entry(state=State.DONE, action_reply=DONE))
            raise ZeroDivisionError
    assert await stored(inbox) is None


async def test_a_new_step_that_somebody_holds_is_waited_for_only_a_moment(inbox: Inbox) -> None:
    async with inbox.claim("order-1", "charge") as holder:
        await holder.save(Entry(state=State.DONE, action_reply=DONE))
        async with asyncio.timeout(10):
            taken = asyncio.create_task(_store_new(inbox))
            await asyncio.wait({taken}, timeout=3)
    is_stored = await taken
    assert (await stored(inbox, "order-1", "ship") is not None) is is_stored
    assert await stored(inbox) == Entry(state=State.DONE, action_reply=DONE)


async def _store_new(inbox: Inbox) -> bool:
    """Whether there was no conflict."""
    with suppress(Conflict):
        async with inbox.claim_new({CHARGE, SHIP}) as claims:
            for claim in claims.values():
                await claim.save(Entry(state=State.DONE, action_reply=DONE))
        return True
    return False
