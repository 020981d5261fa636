"""A claim whose process has frozen does not keep others out for ever."""

import asyncio
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from messaging.errors import Unavailable
from participants.postgres_dialect import PatientConnection
from participants.sql_inbox import SqlInbox
from tests.faults.proxy import FaultProxy

AT_ONCE = "?options=-c%20idle_in_transaction_session_timeout%3D200ms"


@pytest.mark.postgres
async def test_an_abandoned_claim_is_taken_over_and_its_first_owner_changes_nothing(
    empty_database_url: str,
) -> None:
    frozen, other = SqlInbox(empty_database_url + AT_ONCE), SqlInbox(empty_database_url)
    await frozen.prepare(())
    with pytest.raises(Unavailable):
        await _claim_before(other, frozen)
    async with other.engine.connect() as connection:
        assert await connection.scalar(text("SELECT to_regclass('effect')")) is None
    await frozen.close()
    await other.close()


async def _claim_before(other: SqlInbox, frozen: SqlInbox) -> None:
    """The first owner does nothing until the other one has had the claim."""
    async with frozen.claim("saga", "step") as abandoned:
        async with asyncio.timeout(10), other.claim("saga", "step") as claim:
            assert claim.entry is None
        await abandoned.session().execute(text("CREATE TABLE effect (done bool)"))


@pytest.mark.postgres
async def test_a_claim_may_be_held_as_long_as_a_step_waits_by_default(
    empty_database_url: str,
) -> None:
    inbox = SqlInbox(empty_database_url)
    async with inbox.engine.connect() as connection:
        limit = await connection.scalar(text("SHOW idle_in_transaction_session_timeout"))
    await inbox.close()
    assert limit == "5min"


@pytest.mark.postgres
async def test_a_server_that_falls_silent_does_not_keep_a_claim_for_ever(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientConnection, "patience", 0.5)
    parts = urlsplit(empty_database_url)
    async with FaultProxy(parts.hostname or "", parts.port or 5432) as proxy:
        inbox = SqlInbox(proxy.url(empty_database_url))
        await inbox.prepare(())
        proxy.freeze()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(_claim(inbox), 10)
        proxy.thaw()
        await _claim(inbox)
        await inbox.close()


async def _claim(inbox: SqlInbox) -> None:
    async with inbox.claim("saga", "step") as claim:
        assert claim.entry is None
