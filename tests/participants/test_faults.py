"""Broker and database fail, processes stop: every command is still answered, once at a time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from chassis.facts import CommandHandled, ConnectionChanged, Noticed
from messaging.brokers import broker_for
from messaging.contract import Effect, ReplyType
from messaging.errors import ConfigurationError
from messaging.topology import Names, TopologyMode, installation
from participants import Context, Participant
from participants.guard import Entry, State
from participants.runner import inbox_for
from participants.settling import pause_before
from participants.sql_inbox import SqlInbox
from tests.conformance.place_fixtures import ON_SQLITE
from tests.conformance.worlds import eventually
from tests.faults.proxy import FaultProxy
from tests.participants.conftest import ON_MEMORY, ON_SERVERS, Stage
from tests.participants.desk import SECONDS, command, running


class Gate:
    """A participant whose handler waits until it is let through."""

    def __init__(self) -> None:
        self.service = Participant("TestService")
        self.calls = 0
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.service.action("Act")(self.act)

    async def act(self, command: dict[str, Any], context: Context) -> dict[str, Any]:
        self.calls += 1
        self.reached.set()
        await self.opened.wait()
        return {"call": self.calls}


@pytest.fixture
async def gate() -> Gate:
    return Gate()


@pytest.mark.parametrize("but_keep", [False, True])
@ON_MEMORY
async def test_a_refused_reply_goes_out_in_the_end(
    stage: Stage, gate: Gate, but_keep: bool
) -> None:
    async with running(stage.runner(gate.service)):
        await stage.desk.send(command("TestService.Act"))
        await gate.reached.wait()
        stage.server.refuse_publishes(1, but_keep=but_keep)
        gate.opened.set()
        replies = [await stage.desk.reply() for _ in range(1 + but_keep)]
    assert {reply.type for reply in replies} == {ReplyType.STEP_COMPLETED}
    assert gate.calls == 1
    assert any("not confirmed" in fact.message for fact in stage.facts_of(Noticed))


@ON_MEMORY
async def test_a_reply_that_no_queue_takes_waits_for_one_without_holding_up_others(
    stage: Stage, gate: Gate
) -> None:
    names = stage.names
    gate.opened.set()
    async with running(stage.runner(gate.service)):
        stage.server.delete_queue(names.replies)
        await stage.desk.send(command("TestService.Act"))
        await eventually(lambda: bool(stage.facts_of(Noticed)[1:]))
        await stage.desk.send_body("TestService.Act", b"no json")
        assert (await stage.desk.dead_letter()).headers["saga-reason"] == "bad_json"
        stage.server.declare(installation(names, ["TestService"]))
        assert (await stage.desk.reply()).result == {"call": 1}


@ON_MEMORY
async def test_a_command_whose_connection_was_lost_is_executed_once(
    stage: Stage, gate: Gate
) -> None:
    """It comes again while its handler still runs; the second one waits for the first."""
    async with running(stage.runner(gate.service)):
        await stage.desk.send(command("TestService.Act"))
        await gate.reached.wait()
        stage.server.drop_connections()
        gate.opened.set()
        first, second = await stage.desk.reply(), await stage.desk.reply()
    assert first.result == second.result == {"call": 1}
    assert gate.calls == 1


async def test_what_has_begun_is_finished_before_a_stop(stage: Stage, gate: Gate) -> None:
    runner = stage.runner(gate.service, concurrency=1, prefetch=2)
    async with running(runner) as stopping:
        await stage.desk.send(command("TestService.Act", "order-1"))
        await stage.desk.send(command("TestService.Act", "order-2"))
        await gate.reached.wait()
        stopping.set()
        gate.opened.set()
    assert (await stage.desk.reply()).saga_id == "order-1"
    assert gate.calls == 1
    async with running(stage.runner(gate.service)):
        assert (await stage.desk.reply()).saga_id == "order-2"


async def test_a_cancelled_runner_leaves_its_command_to_the_next(stage: Stage, gate: Gate) -> None:
    work = asyncio.create_task(stage.runner(gate.service).run(asyncio.Event()))
    await stage.desk.send(command("TestService.Act"))
    await gate.reached.wait()
    work.cancel()
    await asyncio.wait({work}, timeout=SECONDS)
    assert work.cancelled()
    gate.opened.set()
    async with running(stage.runner(gate.service)):
        assert (await stage.desk.reply()).result == {"call": 2}


@ON_MEMORY
async def test_a_program_stops_although_the_broker_is_away(stage: Stage, gate: Gate) -> None:
    async with running(stage.runner(gate.service)) as stopping:
        await stage.desk.send(command("TestService.Act"))
        await gate.reached.wait()
        stage.server.go_down()
        gate.opened.set()
        stopping.set()
    stage.server.come_back()
    async with running(stage.runner(gate.service)):
        assert (await stage.desk.reply()).result == {"call": 1}


@pytest.fixture
async def frail_database(empty_database_url: str, postgres_url: str) -> AsyncIterator[FaultProxy]:
    host, _, port = postgres_url.rpartition("@")[2].partition("/")[0].partition(":")
    async with FaultProxy(host, int(port or 5432)) as proxy:
        yield proxy


@pytest.mark.postgres
@ON_MEMORY
async def test_commands_are_held_while_the_database_is_away(
    stage: Stage, gate: Gate, frail_database: FaultProxy, empty_database_url: str
) -> None:
    gate.opened.set()
    inbox = inbox_for(frail_database.url(empty_database_url))
    runner = stage.runner(gate.service, inbox=inbox)
    async with running(runner):
        await stage.desk.ask(command("TestService.Act", "order-0"))
        assert runner.inbox_problem() is None
        await frail_database.refuse()
        await stage.desk.send(command("TestService.Act"))
        await eventually(lambda: runner.inbox_problem() is not None)
        await frail_database.accept()
        reply = await stage.desk.reply()
        assert (reply.saga_id, reply.type) == ("order-1", ReplyType.STEP_COMPLETED)
        assert runner.inbox_problem() is None
    await inbox.close()
    ups = [fact.up for fact in stage.facts_of(ConnectionChanged)]
    assert ups == [True, False, True]
    assert len(stage.facts_of(CommandHandled)) == 2


@pytest.mark.postgres
@ON_MEMORY
async def test_a_program_stops_although_the_database_is_away(
    stage: Stage, gate: Gate, frail_database: FaultProxy, empty_database_url: str
) -> None:
    gate.opened.set()
    inbox = inbox_for(frail_database.url(empty_database_url))
    runner = stage.runner(gate.service, inbox=inbox)
    async with running(runner):
        await eventually(lambda: runner.inbox_problem() is None)
        await frail_database.refuse()
        await stage.desk.send(command("TestService.Act"))
        await eventually(lambda: runner.inbox_problem() is not None)
    await inbox.close()
    async with running(stage.runner(gate.service)):
        assert (await stage.desk.reply()).saga_id == "order-1"


@pytest.mark.postgres
@ON_MEMORY
async def test_a_connection_lost_in_the_handler_is_no_failure_of_the_step(
    stage: Stage, empty_database_url: str
) -> None:
    inbox = inbox_for(empty_database_url)
    assert isinstance(inbox, SqlInbox)
    service = Participant("TestService")
    calls = 0

    @service.action("Act")
    async def act(command: dict[str, Any], context: Context) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await context.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return {"calls": calls}

    async with running(stage.runner(service, inbox=inbox, tries=1)):
        reply = await stage.desk.ask(command("TestService.Act"))
    await inbox.close()
    assert (reply.type, reply.result) == (ReplyType.STEP_COMPLETED, {"calls": 2})


@ON_SERVERS
async def test_a_reply_survives_a_lost_connection_to_rabbitmq(
    stage: Stage, gate: Gate, amqp_url: str
) -> None:
    host, _, port = amqp_url.rpartition("@")[2].partition("/")[0].partition(":")
    async with (
        FaultProxy(host, int(port or 5672)) as proxy,
        _broker(proxy.url(amqp_url), stage.names) as broker,
        running(stage.runner(gate.service, broker=broker)),
    ):
        await stage.desk.send(command("TestService.Act"))
        await gate.reached.wait()
        await proxy.refuse()
        gate.opened.set()
        await eventually(lambda: not broker.is_ready())
        await proxy.accept()
        reply = await stage.desk.reply()
    assert (reply.type, reply.result) == (ReplyType.STEP_COMPLETED, {"call": 1})
    assert gate.calls == 1


def _broker(url: str, names: Names) -> Any:
    return broker_for(
        url,
        names=names,
        topology=installation(names, ["TestService"]),
        mode=TopologyMode.DECLARE,
        app_id="tests",
    )


async def test_a_handler_that_is_cancelled_from_within_is_answered(stage: Stage) -> None:
    service = Participant("TestService")

    @service.action("Act")
    async def act(command: dict[str, Any], context: Context) -> None:
        raise asyncio.CancelledError

    async with running(stage.runner(service)):
        reply = await stage.desk.ask(command("TestService.Act"))
    assert (reply.type, reply.effect) == (ReplyType.STEP_FAILED, Effect.UNKNOWN)
    assert "cancelled from within" in (reply.error or "")


@ON_SQLITE
async def test_entries_older_than_90_days_are_purged_while_it_runs(
    stage: Stage, gate: Gate
) -> None:
    assert isinstance(stage.inbox, SqlInbox)
    await stage.inbox.prepare(())
    for saga_id in ("old", "young"):
        async with stage.inbox.claim(saga_id, "act") as claim:
            await claim.save(Entry(state=State.TOMBSTONE))
    async with stage.inbox.engine.begin() as connection:
        await connection.execute(
            text("UPDATE saga_inbox SET updated_at = '2020-01-01' WHERE saga_id = 'old'")
        )
    async with running(stage.runner(gate.service)):
        await eventually(lambda: any("purged" in fact.message for fact in stage.facts_of(Noticed)))
    async with stage.inbox.claim("old", "act") as claim:
        assert claim.entry is None
    async with stage.inbox.claim("young", "act") as claim:
        assert claim.entry is not None


def test_pauses_grow_to_half_a_minute_and_are_never_the_same() -> None:
    longest = [pause_before(attempt, draw=max) for attempt in (1, 2, 3, 8, 9, 1000)]
    shortest = [pause_before(attempt, draw=min) for attempt in (1, 1000)]
    assert longest == [0.2, 0.4, 0.8, 25.6, 30.0, 30.0]
    assert shortest == [0.1, 15.0]


@ON_MEMORY
def test_a_runner_needs_participants_of_different_names(stage: Stage) -> None:
    with pytest.raises(ConfigurationError, match="participants of the same name: TestService"):
        stage.runner(Participant("TestService"), Participant("TestService"))
    with pytest.raises(ConfigurationError, match="no participant to run"):
        stage.runner()
