"""Participants whose handlers allow batches, on every kind of stage and through its faults."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from chassis import failpoints
from chassis.facts import BatchCommitted, CommandHandled, ConnectionChanged, Noticed
from messaging.contract import Reply, ReplyType
from messaging.errors import DefinitionError
from participants import Context, Participant, StepFailed
from participants.runner import inbox_for
from participants.service import PREFETCH_FOR_BATCHES
from tests.conformance.worlds import eventually
from tests.faults.proxy import FaultProxy
from tests.participants.conftest import ON_MEMORY, ON_SERVERS, Stage
from tests.participants.desk import COMPENSATION, SECONDS, command, running
from tests.participants.test_faults import frail_database

__all__ = ["frail_database"]

MANY = 40


class Counter:
    """A participant that counts, says no where it is asked to, and undoes."""

    def __init__(self) -> None:
        self.service = Participant("TestService")
        self.calls: list[str] = []
        self.opened = asyncio.Event()
        self.opened.set()
        self.service.action("Act", batch=True)(self.act)
        self.service.compensation("Undo", batch=True)(self.undo)
        self.service.action("ActAlone")(self.act)

    async def act(self, command: dict[str, Any], context: Context) -> dict[str, Any]:
        self.calls.append(context.saga_id)
        await self.opened.wait()
        match command.get("do"):
            case "fail":
                raise StepFailed("out of stock")
            case "break":
                raise ZeroDivisionError("oops")
        return {"saga": context.saga_id}

    async def undo(self, command: dict[str, Any], context: Context) -> None:
        self.calls.append(f"{context.saga_id} undone")


@pytest.fixture
async def counter() -> Counter:
    return Counter()


def act(number: int, name: str = "Act", **data: Any) -> Any:
    return command(f"TestService.{name}", f"order-{number}", **data)


async def replies(stage: Stage, count: int) -> list[Reply]:
    return [await stage.desk.reply() for _ in range(count)]


def sizes(stage: Stage) -> list[int]:
    return [fact.size for fact in stage.facts_of(BatchCommitted)]


async def test_commands_that_have_arrived_together_are_handled_together(
    stage: Stage, counter: Counter
) -> None:
    await stage.desk.send(*(act(number) for number in range(MANY)))
    async with running(stage.runner(counter.service)):
        answered = await replies(stage, MANY)
    assert {reply.saga_id for reply in answered} == {f"order-{n}" for n in range(MANY)}
    assert {reply.type for reply in answered} == {ReplyType.STEP_COMPLETED}
    assert sorted(counter.calls) == sorted(f"order-{n}" for n in range(MANY))
    assert sum(sizes(stage)) == MANY
    assert max(sizes(stage)) > 1
    assert len(stage.facts_of(CommandHandled)) == MANY


async def test_a_lone_command_waits_for_no_other(stage: Stage, counter: Counter) -> None:
    async with running(stage.runner(counter.service)):
        reply = await stage.desk.ask(act(1))
        undone = await stage.desk.ask(
            command("TestService.Undo", "order-1", direction=COMPENSATION)
        )
    assert reply.result == {"saga": "order-1"}
    assert undone.type is ReplyType.COMPENSATION_COMPLETED
    assert counter.calls == ["order-1", "order-1 undone"]
    assert sizes(stage) == [1, 1]


async def test_both_ways_to_handle_a_command_share_a_queue(stage: Stage, counter: Counter) -> None:
    asked = [act(n, "Act" if n % 2 else "ActAlone") for n in range(MANY)]
    await stage.desk.send(*asked)
    await stage.desk.send_body("TestService.Act", b"no json")
    async with running(stage.runner(counter.service, concurrency=2)):
        answered = await replies(stage, MANY)
        rejected = await stage.desk.dead_letter()
    assert {reply.saga_id for reply in answered} == {f"order-{n}" for n in range(MANY)}
    assert rejected.headers["saga-reason"] == "bad_json"
    assert sum(sizes(stage)) == MANY // 2


async def test_failures_among_many_are_answered_and_cost_nobody_an_answer(
    stage: Stage, counter: Counter
) -> None:
    odd = {3: "fail", 7: "break", 8: "fail"}
    await stage.desk.send(*(act(n, do=odd.get(n, "")) for n in range(MANY)))
    async with running(stage.runner(counter.service, tries=2)):
        answered = {reply.saga_id: reply for reply in await replies(stage, MANY)}
    failed = {saga for saga, reply in answered.items() if reply.type is ReplyType.STEP_FAILED}
    assert failed == {"order-3", "order-7", "order-8"}
    assert answered["order-7"].retryable is True
    assert answered["order-3"].error == "out of stock"
    assert counter.calls.count("order-7") == 3  # in the batch, then twice alone
    assert all(counter.calls.count(f"order-{n}") == 1 for n in range(MANY) if n != 7)


@pytest.mark.parametrize("point", ["guard_before_batch_commit", "guard_after_batch_commit"])
async def test_a_fault_of_ours_at_the_commit_leaves_every_command_to_itself(
    stage: Stage, counter: Counter, point: str
) -> None:
    await stage.desk.send(*(act(number) for number in range(MANY)))
    failpoints.arm({"SAGA_FAILPOINTS": f"{point}=raise@1", "SAGA_TEST_BUILD": "1"})
    try:
        async with running(stage.runner(counter.service)):
            answered = await replies(stage, MANY)
    finally:
        failpoints.disarm()
    assert {reply.saga_id for reply in answered} == {f"order-{n}" for n in range(MANY)}
    assert {reply.type for reply in answered} == {ReplyType.STEP_COMPLETED}
    assert any("one by one" in fact.message for fact in stage.facts_of(Noticed))
    if point == "guard_after_batch_commit":
        assert sorted(counter.calls) == sorted(f"order-{n}" for n in range(MANY))


async def test_a_batch_that_has_begun_is_finished_before_a_stop(
    stage: Stage, counter: Counter
) -> None:
    counter.opened.clear()
    async with running(stage.runner(counter.service)) as stopping:
        await stage.desk.send(act(1))
        await eventually(lambda: counter.calls == ["order-1"])
        await stage.desk.send(act(2))
        stopping.set()
        counter.opened.set()
    assert (await stage.desk.reply()).saga_id == "order-1"
    assert counter.calls == ["order-1"]
    async with running(stage.runner(counter.service)):
        assert (await stage.desk.reply()).saga_id == "order-2"


@ON_MEMORY
async def test_a_batch_whose_connection_was_lost_is_executed_once(
    stage: Stage, counter: Counter
) -> None:
    counter.opened.clear()
    await stage.desk.send(*(act(number) for number in range(4)))
    async with running(stage.runner(counter.service)):
        await eventually(lambda: bool(counter.calls))
        stage.server.drop_connections()
        counter.opened.set()
        answered = await replies(stage, 8)
    assert {reply.saga_id for reply in answered} == {f"order-{n}" for n in range(4)}
    assert len(counter.calls) == 4


@ON_MEMORY
async def test_a_step_that_somebody_holds_stops_no_other(stage: Stage, counter: Counter) -> None:
    """Its batch is given up, and the command waits by itself."""
    async with running(stage.runner(counter.service)):
        async with stage.inbox.claim("order-0", "act"):
            await stage.desk.send(*(act(number) for number in range(4)))
            answered = await replies(stage, 3)
        assert {reply.saga_id for reply in answered} == {"order-1", "order-2", "order-3"}
        assert (await stage.desk.reply()).saga_id == "order-0"


@ON_SERVERS
async def test_a_row_that_somebody_holds_stops_no_other(stage: Stage, counter: Counter) -> None:
    async with running(stage.runner(counter.service)):
        await stage.desk.ask(act(0))
        async with stage.inbox.claim("order-0", "act"), stage.inbox.claim("order-9", "act"):
            await stage.desk.send(*(act(number) for number in (0, 1, 9, 2)))
            answered = await replies(stage, 2)
        assert {reply.saga_id for reply in answered} == {"order-1", "order-2"}
        assert {reply.saga_id for reply in await replies(stage, 2)} == {"order-0", "order-9"}


@pytest.mark.postgres
@ON_MEMORY
async def test_batches_are_held_while_the_database_is_away(
    stage: Stage, counter: Counter, frail_database: FaultProxy, empty_database_url: str
) -> None:
    inbox = inbox_for(frail_database.url(empty_database_url))
    runner = stage.runner(counter.service, inbox=inbox)
    async with running(runner):
        await stage.desk.ask(act(0))
        await frail_database.refuse()
        await stage.desk.send(*(act(number) for number in range(1, MANY)))
        await eventually(lambda: runner.inbox_problem() is not None)
        await frail_database.accept()
        answered = await replies(stage, MANY - 1)
        assert runner.inbox_problem() is None
    await inbox.close()
    assert {reply.saga_id for reply in answered} == {f"order-{n}" for n in range(1, MANY)}
    ups = [fact.up for fact in stage.facts_of(ConnectionChanged)]
    assert ups == [True, False, True]


@pytest.mark.postgres
@ON_MEMORY
async def test_a_program_stops_with_a_batch_that_waits_for_the_database(
    stage: Stage, counter: Counter, frail_database: FaultProxy, empty_database_url: str
) -> None:
    inbox = inbox_for(frail_database.url(empty_database_url))
    runner = stage.runner(counter.service, inbox=inbox)
    async with running(runner):
        await eventually(lambda: runner.inbox_problem() is None)
        await frail_database.refuse()
        await stage.desk.send(act(1), act(2))
        await eventually(lambda: runner.inbox_problem() is not None)
    await inbox.close()
    async with running(stage.runner(counter.service)):
        assert {reply.saga_id for reply in await replies(stage, 2)} == {"order-1", "order-2"}


@pytest.mark.postgres
@ON_MEMORY
async def test_a_connection_lost_in_a_batch_is_no_failure_of_any_step(
    stage: Stage, empty_database_url: str
) -> None:
    inbox = inbox_for(empty_database_url)
    service = Participant("TestService")
    calls: list[str] = []

    @service.action("Act", batch=True)
    async def act_once(command: dict[str, Any], context: Context) -> None:
        calls.append(context.saga_id)
        if calls.count("order-1") == 1 and context.saga_id == "order-1":
            await context.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await stage.desk.send(*(act(number) for number in range(4)))
    async with running(stage.runner(service, inbox=inbox, tries=1)):
        async with asyncio.timeout(SECONDS):
            answered = await replies(stage, 4)
    await inbox.close()
    assert {reply.type for reply in answered} == {ReplyType.STEP_COMPLETED}


@ON_MEMORY
async def test_a_participant_with_batches_takes_more_in_advance(
    stage: Stage, counter: Counter
) -> None:
    gate = Participant("OtherService")
    gate.action("Act")(counter.act)
    counter.opened.clear()
    others = [command("OtherService.Act", f"other-{n}") for n in range(100)]
    await stage.desk.send(*(act(number) for number in range(600)), *others)
    async with running(stage.runner(counter.service, gate, concurrency=5)) as stopping:
        queues = stage.server.queues
        await eventually(lambda: len(counter.calls) == 6)
        held = [queues[stage.names.commands_for(each)].unsettled for each in stage_services()]
        stopping.set()
        counter.opened.set()
    assert held == [PREFETCH_FOR_BATCHES, 10]


def stage_services() -> tuple[str, str]:
    return "TestService", "OtherService"


def test_only_what_awaits_the_database_alone_may_share_a_batch() -> None:
    service = Participant("TestService")

    def blocking(command: dict[str, Any], context: Context) -> None: ...

    async def calling_out(command: dict[str, Any], context: Context) -> None: ...

    with pytest.raises(DefinitionError, match=r"'Block' is no `async def`.*leave batch=True out"):
        service.action("Block", batch=True)(blocking)
    with pytest.raises(DefinitionError, match=r"'Call' has effects outside"):
        service.action("Call", batch=True, external=True)(calling_out)
    assert not service.has_batches
