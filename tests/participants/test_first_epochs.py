"""A participant tells when it first heard of a step, whatever it could say of it then."""

from dataclasses import replace
from typing import Any

import pytest

from messaging.contract import Command, ReplyType
from participants import Context, Participant, StepFailed
from tests.participants.conftest import Stage
from tests.participants.desk import COMPENSATION, command, running
from tests.participants.test_later import awaited

ACT, UNDO = command("TestService.Act"), command("TestService.Undo", direction=COMPENSATION)


def of_epoch(epoch: str, asked: Command, *, attempt: int = 1) -> Command:
    return replace(asked, epoch=epoch, attempt=attempt)


def unsure(batch: bool, *, external: bool = False) -> Participant:
    """Its first attempt may have left something behind; the second succeeds."""
    service = Participant("TestService")

    @service.action("Act", batch=batch, external=external)
    async def act(command: dict[str, Any], context: Context) -> dict[str, Any]:
        if context.attempt == 1:
            raise StepFailed("no idea", retryable=True, effect="unknown")
        return {}

    @service.compensation("Undo", batch=batch)
    async def undo(command: dict[str, Any], context: Context) -> None:
        """Nothing."""

    return service


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "in batches"])
async def test_an_attempt_whose_effect_is_not_known_is_remembered_with_its_epoch(
    stage: Stage, batch: bool
) -> None:
    async with running(stage.runner(unsure(batch))):
        await stage.desk.ask(of_epoch("1", ACT))
        done = await stage.desk.ask(of_epoch("2", ACT, attempt=2))
        undone = await stage.desk.ask(of_epoch("3", UNDO))
    assert (done.type, done.epoch) == (ReplyType.STEP_COMPLETED, "1 2")
    assert (undone.type, undone.epoch) == (ReplyType.COMPENSATION_COMPLETED, "1 3")


async def test_an_attempt_outside_that_was_begun_is_remembered_with_its_epoch(
    stage: Stage,
) -> None:
    async with running(stage.runner(unsure(False, external=True))):
        await stage.desk.ask(of_epoch("1", ACT))
        again = await stage.desk.ask(of_epoch("2", ACT))
        done = await stage.desk.ask(of_epoch("2", ACT, attempt=2))
    assert (again.type, again.epoch) == (ReplyType.STEP_FAILED, "1 2")
    assert (done.type, done.epoch) == (ReplyType.STEP_COMPLETED, "1 2")


async def test_a_later_answer_tells_when_it_was_asked_for(stage: Stage) -> None:
    service = Participant("TestService")

    @service.action("Act")
    async def act(command: dict[str, Any], context: Context) -> object:
        return context.later()

    runner = stage.runner(service)
    async with running(runner):
        await stage.desk.send(of_epoch("1", ACT))
        await awaited(stage, "later")
        await runner.replies.reply("order-1", "act", {})
        answer = await stage.desk.reply()
    assert (answer.type, answer.epoch) == (ReplyType.STEP_COMPLETED, "1")


async def test_a_command_of_an_old_epoch_that_comes_late_tells_so(stage: Stage) -> None:
    async with running(stage.runner(unsure(False))):
        await stage.desk.ask(of_epoch("2", ACT, attempt=2))
        undone = await stage.desk.ask(of_epoch("1", UNDO))
    assert (undone.type, undone.epoch) == (ReplyType.COMPENSATION_COMPLETED, "2 1")
