"""A service that dies between two of its effects: the event comes again, and nothing is doubled."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from messaging.events import Event, encode_event
from participants.choreography.execution import EventExecutor, Heard
from participants.choreography.log import Place
from participants.choreography.sql_log_table import saga_log
from participants.runner import event_log_for
from participants.sql_inbox import PURGED_AT_A_TIME, SqlInbox
from tests.choreography.conftest import ON_SQL, Stage
from tests.choreography.ear import event
from tests.choreography.services import Diary, first_service, second_service
from tests.participants.desk import running

pytestmark = ON_SQL

AT_ONCE = timedelta(0)


async def test_what_was_stored_and_not_published_is_owed(stage: Stage) -> None:
    runner = await stage.runner(first_service(Diary()))
    await runner.prepare()
    await leave_unpublished(stage)
    owed = await runner._log.owed("First", AT_ONCE, 10)
    assert [each.place for each in owed] == [Place("First", "order-1", "e-1")]
    assert [message.type for message in owed[0].messages] == ["Done"]


async def test_the_sweep_publishes_what_nobody_delivers_again(stage: Stage) -> None:
    runner = await stage.runner(first_service(Diary()), sweep_after=AT_ONCE)
    await runner.prepare()
    await leave_unpublished(stage)
    async with running(runner):
        assert (await stage.ear.hear("Done")).data == {"thing": "tea"}
    assert await runner._log.owed("First", AT_ONCE, 10) == []


async def test_what_is_published_is_owed_no_more(stage: Stage) -> None:
    runner = await stage.runner(first_service(Diary()))
    async with running(runner):
        await stage.ear.tell(event("Asked", thing="tea"))
        await stage.ear.hear("Done")
    assert await runner._log.owed("First", AT_ONCE, 10) == []


async def test_an_event_that_comes_again_after_a_crash_is_answered_from_the_log(
    stage: Stage,
) -> None:
    diary = Diary()
    asked = event("Asked", thing="tea")
    runner = await stage.runner(first_service(diary))
    await runner.prepare()
    await leave_unpublished(stage, asked)
    async with running(runner):
        await stage.ear.tell(asked)
        done = await stage.ear.hear("Done")
    assert diary.lines == []  # it was done by the one that crashed
    assert done.data == {"thing": "tea"}


async def test_what_the_broker_does_not_confirm_is_published_again(stage: Stage) -> None:
    if not stage.inbox_url or "sqlite" not in stage.inbox_url:
        pytest.skip("only the embedded broker refuses on demand")
    diary = Diary()
    async with running(await stage.runner(first_service(diary), second_service(diary))):
        await stage.ear.tell(event("Asked", thing="tea"))
        stage.server.refuse_publishes(2)
        await stage.ear.hear("Ended")
    assert diary.lines == ["do tea", "confirm tea"]


async def test_old_lines_are_forgotten_unless_they_owe_something(stage: Stage) -> None:
    runner = await stage.runner(first_service(Diary()))
    await runner.prepare()
    await leave_unpublished(stage)
    assert await runner._log.purge(AT_ONCE) == 0
    await runner._log.mark_published([Place("First", "order-1", "e-1")])
    assert await runner._log.purge(AT_ONCE) == 1


async def test_one_purge_forgets_more_than_one_transaction_of_lines(stage: Stage) -> None:
    runner = await stage.runner(first_service(Diary()))
    await runner.prepare()
    line = {
        "service": "First",
        "event": "Asked",
        "saga_type": "Tea",
        "kind": "reaction",
        "state": "handled",
        "payload": b"{}",
    }
    many = [
        line | {"saga_id": f"order-{number}", "event_id": "e-1"}
        for number in range(PURGED_AT_A_TIME + 1)
    ]
    assert isinstance(stage.inbox, SqlInbox)
    async with stage.inbox.engine.begin() as connection:
        await connection.execute(insert(saga_log), many)
    assert await runner._log.purge(AT_ONCE) == PURGED_AT_A_TIME + 1


async def leave_unpublished(stage: Stage, asked: Event | None = None) -> None:
    """As a process leaves it that dies between its commit and its publish."""
    first = first_service(Diary())
    told = asked or replace(event("Asked", thing="tea"), event_id="e-1")
    log = event_log_for(stage.inbox, stage.names)
    heard = Heard(
        event=told,
        payload=encode_event(stage.names, told).body,
        reaction=first.reactions["Asked"],
    )
    done = await EventExecutor(first, log, stage.names).react(heard)
    assert done.outcome == "handled"
