"""Answers given hours after, from the same process or another, through the inbox."""

import asyncio
from typing import Any

import pytest

from messaging.contract import Effect, ReplyType
from messaging.errors import NotFound, Refused, Unavailable
from participants import Context, Participant, StepFailed
from participants.guard import TOO_LATE
from participants.replies import Replies
from tests.participants.conftest import ON_MEMORY, ON_SERVERS, Stage
from tests.participants.desk import COMPENSATION, SECONDS, command, running


@pytest.fixture
def approvals() -> Participant:
    service = Participant("TestService")

    @service.action("Ask")
    async def ask(command: dict[str, Any], context: Context) -> object:
        return context.later()

    @service.compensation("Withdraw")
    async def withdraw(command: dict[str, Any], context: Context) -> object:
        return context.later() if command.get("slowly") else None

    return service


ASK = command("TestService.Ask")
WITHDRAW = command("TestService.Withdraw", direction=COMPENSATION)
SLOWLY = command("TestService.Withdraw", direction=COMPENSATION, slowly=True)


async def awaited(stage: Stage, state: str) -> None:
    """Wait until the inbox knows the step in this state."""
    async with asyncio.timeout(SECONDS):
        while True:
            async with stage.inbox.claim("order-1", "act") as claim:
                if claim.entry and claim.entry.state == state:
                    return
            await asyncio.sleep(0.01)


async def test_a_later_answer_completes_the_step(stage: Stage, approvals: Participant) -> None:
    runner = stage.runner(approvals)
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        await runner.replies.reply("order-1", "act", {"approved_by": "Ann"})
        reply = await stage.desk.reply()
        again = await stage.desk.ask(ASK)
    assert (reply.type, reply.result) == (ReplyType.STEP_COMPLETED, {"approved_by": "Ann"})
    assert (reply.command_id, reply.attempt) == (ASK.command_id, None)
    assert again.result == reply.result


async def test_a_later_no_is_sticky(stage: Stage, approvals: Participant) -> None:
    runner = stage.runner(approvals)
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        await runner.replies.reply("order-1", "act", StepFailed("not approved"))
        reply = await stage.desk.reply()
        again = await stage.desk.ask(ASK)
    assert (reply.type, reply.error) == (ReplyType.STEP_FAILED, "not approved")
    assert (again.error, again.effect) == ("not approved", Effect.NONE)


async def test_the_same_answer_again_is_sent_again_and_another_is_refused(
    stage: Stage, approvals: Participant
) -> None:
    runner = stage.runner(approvals)
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        for _ in range(2):
            await runner.replies.reply("order-1", "act", {"ok": True})
        with pytest.raises(Refused, match="awaits no answer: it is done"):
            await runner.replies.reply("order-1", "act", {"ok": False})
        first, second = await stage.desk.reply(), await stage.desk.reply()
    assert first == second


async def test_an_answer_after_the_compensation_is_refused(
    stage: Stage, approvals: Participant
) -> None:
    runner = stage.runner(approvals)
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        assert (await stage.desk.ask(WITHDRAW)).type is ReplyType.COMPENSATION_COMPLETED
        with pytest.raises(Refused, match="it is compensated"):
            await runner.replies.reply("order-1", "act", {"ok": True})
        assert (await stage.desk.ask(ASK)).error == TOO_LATE


async def test_a_compensation_may_answer_later_too(stage: Stage, approvals: Participant) -> None:
    runner = stage.runner(approvals)
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        await stage.desk.send(SLOWLY)
        await awaited(stage, "compensating")
        await runner.replies.reply("order-1", "act", StepFailed("the clerk is ill"))
        failed = await stage.desk.reply()
        await stage.desk.send(SLOWLY)
        await awaited(stage, "compensating")
        await runner.replies.reply("order-1", "act")
        done = await stage.desk.reply()
        again = await stage.desk.ask(SLOWLY)
    assert (failed.type, failed.error) == (ReplyType.COMPENSATION_FAILED, "the clerk is ill")
    assert done.type is again.type is ReplyType.COMPENSATION_COMPLETED


async def test_a_later_failure_that_may_be_tried_again_asks_again(
    stage: Stage, approvals: Participant
) -> None:
    runner = stage.runner(approvals)
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        await runner.replies.reply("order-1", "act", StepFailed("not today", retryable=True))
        assert (await stage.desk.reply()).retryable is True
        await stage.desk.send(ASK)
        await awaited(stage, "later")


@ON_MEMORY
async def test_a_step_that_nobody_executed_cannot_be_answered(stage: Stage) -> None:
    runner = stage.runner(Participant("TestService"))
    with pytest.raises(NotFound, match="'act' of saga 'order-1' has not been executed here"):
        await runner.replies.reply("order-1", "act", {"ok": True})


@ON_MEMORY
@pytest.mark.parametrize("answer", ["text", {"n": float("nan")}, ZeroDivisionError()], ids=repr)
async def test_what_is_no_answer_is_refused_and_changes_nothing(
    stage: Stage, approvals: Participant, answer: object
) -> None:
    runner = stage.runner(approvals)
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        with pytest.raises(Refused):
            await runner.replies.reply("order-1", "act", answer)
        await awaited(stage, "later")


@ON_SERVERS
async def test_another_process_answers_by_the_urls_alone(
    stage: Stage, approvals: Participant, amqp_url: str
) -> None:
    runner = stage.runner(approvals)
    assert stage.inbox_url is not None
    async with running(runner):
        await stage.desk.send(ASK)
        await awaited(stage, "later")
        async with Replies.open(
            amqp_url, inbox_url=stage.inbox_url, namespace=stage.names.namespace
        ) as replies:
            await replies.reply("order-1", "act", {"by": "another process"})
        assert (await stage.desk.reply()).result == {"by": "another process"}


@ON_SERVERS
async def test_an_inbox_out_of_reach_is_said(stage: Stage, amqp_url: str) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    async with Replies.open(amqp_url, inbox_url=nowhere, namespace=stage.names.namespace) as one:
        with pytest.raises(Unavailable, match="the inbox cannot be used now"):
            await one.reply("order-1", "act")
