"""What a claim in Postgres keeps of its promises, whatever a handler or the network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from messaging.errors import SagaError, Unavailable
from participants.guard import Entry, State
from participants.inbox import Key
from participants.sql_inbox import SqlInbox
from tests.conformance.test_inbox import DONE, store, stored

pytestmark = pytest.mark.postgres

INSERT = text("INSERT INTO effect VALUES (1)")
ENTRY = Entry(state=State.DONE, action_reply=DONE)


@pytest.fixture
async def inbox(empty_database_url: str) -> AsyncIterator[SqlInbox]:
    inbox = SqlInbox(empty_database_url, connections=4)
    await inbox.prepare(())
    async with inbox.engine.begin() as connection:
        await connection.execute(
            text("CREATE TABLE effect (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        )
    yield inbox
    await inbox.close()


async def effects(inbox: SqlInbox) -> int | None:
    async with inbox.engine.connect() as connection:
        count: int | None = await connection.scalar(text("SELECT count(*) FROM effect"))
        return count


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_handlers_rollback_undoes_its_effects_and_lets_nobody_in(
    inbox: SqlInbox, is_known: bool
) -> None:
    if is_known:
        await store(inbox, ENTRY)
    async with inbox.claim("order-1", "charge") as claim:
        await claim.session().execute(INSERT)
        await claim.session().rollback()
        other = asyncio.create_task(stored(inbox))
        await asyncio.wait({other}, timeout=0.3)
        assert not other.done()
        await claim.session().execute(text("INSERT INTO effect VALUES (2)"))
        await claim.save(Entry(state=State.LATER))
    assert await other == Entry(state=State.LATER)
    assert await effects(inbox) == 1


async def test_what_a_handler_has_committed_is_undone_with_the_claim(inbox: SqlInbox) -> None:
    with suppress(ZeroDivisionError):
        async with inbox.claim("order-1", "charge") as claim:
            await claim.session().execute(INSERT)
            await claim.session().commit()
            await claim.session().execute(text("INSERT INTO effect VALUES (2)"))
            await claim.save(ENTRY)
            raise ZeroDivisionError
    assert (await stored(inbox), await effects(inbox)) == (None, 0)


async def test_an_effect_that_the_commit_refuses_is_the_handlers_fault(inbox: SqlInbox) -> None:
    """Not Unavailable: the command would be held for ever."""

    async def leave_two_of_one() -> None:
        async with inbox.claim("order-1", "charge") as claim:
            await claim.session().execute(INSERT)
            await claim.session().execute(INSERT)
            await claim.save(ENTRY)

    with pytest.raises(psycopg.errors.UniqueViolation):
        await leave_two_of_one()
    assert (await stored(inbox), await effects(inbox)) == (None, 0)


async def test_a_table_that_refuses_the_answer_is_nobodys_fault(inbox: SqlInbox) -> None:
    async with inbox.engine.begin() as connection:
        await connection.execute(
            text("ALTER TABLE saga_inbox ADD CHECK (action_reply IS NULL) NOT VALID")
        )
    with pytest.raises(Unavailable):
        await store(inbox, ENTRY)


async def test_an_error_that_a_handler_hides_is_told(inbox: SqlInbox) -> None:
    async def go_on_after_an_error() -> None:
        async with inbox.claim("order-1", "charge") as claim:
            await claim.session().execute(INSERT)
            with suppress(DBAPIError):
                await claim.session().execute(text("SELECT 1 / 0"))
            await claim.save(ENTRY)

    with pytest.raises(DBAPIError, match="transaction is aborted"):
        await go_on_after_an_error()
    assert (await stored(inbox), await effects(inbox)) == (None, 0)


@pytest.mark.parametrize("statements", [["ROLLBACK"], ["ROLLBACK", "BEGIN"]])
async def test_a_handler_that_ends_the_transaction_gets_no_answer_stored(
    inbox: SqlInbox, statements: list[str]
) -> None:
    async def end_it() -> None:
        async with inbox.claim("order-1", "charge") as claim:
            for statement in statements:
                await claim.session().execute(text(statement))
            await claim.save(ENTRY)

    with pytest.raises(SagaError, match="'charge' has ended the transaction"):
        await end_it()
    assert await stored(inbox) is None


async def test_a_savepoint_of_one_claim_is_not_taken_for_that_of_the_next(
    empty_database_url: str,
) -> None:
    inbox = SqlInbox(empty_database_url, connections=1)
    await inbox.prepare(())
    async with inbox.claim("order-1", "charge") as alone:
        await alone.session().execute(text("CREATE TABLE effect (n int)"))
        await alone.save(ENTRY)
    undone, kept = Key("order-2", "charge"), Key("order-3", "charge")
    async with inbox.claim_all([undone, kept], is_divisible=True) as claims:
        await claims[undone].session().execute(INSERT)
        await claims[undone].undo()
        await claims[kept].session().execute(INSERT)
        await claims[kept].keep()
        await claims[kept].save(ENTRY)
    assert await effects(inbox) == 1
    await inbox.close()


async def test_after_a_lost_connection_the_others_are_not_tried(
    inbox: SqlInbox, empty_database_url: str
) -> None:
    """One command is held for a moment, not as many as there are connections."""
    await asyncio.gather(*(store(inbox, ENTRY, f"order-{n}") for n in range(4)))
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(Unavailable):
        await stored(inbox)
    for number in range(4):
        assert await stored(inbox, f"order-{number}") is not None


async def test_who_is_cancelled_while_it_waits_leaves_a_sound_connection(
    empty_database_url: str, inbox: SqlInbox
) -> None:
    other = SqlInbox(empty_database_url, connections=1)
    async with inbox.claim("order-1", "charge") as claim:
        waiting = asyncio.create_task(stored(other))
        await asyncio.wait({waiting}, timeout=0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await stored(other, "order-2") is None
        await claim.save(ENTRY)
    assert await stored(other) == ENTRY
    await other.close()
