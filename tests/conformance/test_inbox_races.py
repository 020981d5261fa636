"""Many sagas, each with two deliveries of its action and two of its compensation at once,
among crashes and failures: every effect at most once, and none left after its undoing."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from tenacity import wait_none

from messaging.contract import Command, Direction, ReplyType, command_id_for
from participants import Context, NotFound, Participant, StepFailed
from participants.execution import Answer, Executor
from participants.inbox import Inbox
from participants.runner import inbox_for
from participants.sql_inbox import SqlInbox
from tests.conformance.inbox_fixtures import INBOXES, SQL_INBOXES, inbox_url_of

SAGAS = 60
ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION

ledger = Table(
    "ledger",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("saga_id", String(200), nullable=False),
    Column("kind", String(20), nullable=False),
)


class Crash(BaseException):
    """The process ends here; the command is delivered again."""


class Mishaps:
    """What goes wrong, and how often. Drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def maybe_crash(self) -> None:
        if self._random.random() < 0.15:
            raise Crash

    def maybe_fail(self) -> None:
        draw = self._random.random()
        if draw < 0.15:
            raise StepFailed("the business says no")
        if draw < 0.2:
            raise StepFailed("not now", retryable=True)
        if draw < 0.3:
            raise ConnectionResetError("something else went wrong")


def command(saga_id: str, direction: Direction) -> Command:
    return Command(
        saga_id=saga_id,
        saga_type="Race",
        step_name="charge",
        direction=direction,
        destination=f"TestService.{'Do' if direction is ACTION else 'Undo'}",
        command_id=command_id_for(saga_id, "charge", direction),
        attempt=1,
        data={},
    )


async def deliver(
    executor: Executor, service: Participant, mishaps: Mishaps, asked: Command
) -> list[Answer]:
    """Deliver a command until it is answered for good, as broker and orchestrator would."""
    handler = service.handlers[asked.name]
    answers = []
    for _ in range(200):
        try:
            answer = await executor.execute(asked, handler)
            answers.append(answer)
            mishaps.maybe_crash()
        except Crash:
            continue
        assert answer.reply is not None
        is_final = answer.reply.type is not ReplyType.COMPENSATION_FAILED
        if is_final and not answer.reply.retryable:
            return answers
        asked = replace(asked, attempt=asked.attempt + 1)
    raise AssertionError(f"{asked.saga_id} was never answered")


async def race(
    inbox: Inbox, service: Participant, mishaps: Mishaps
) -> Sequence[tuple[Direction, Sequence[Answer]]]:
    """All answers, by direction, of four deliveries for each saga."""
    executor = Executor(inbox, tries=2, pauses=wait_none())
    commands = [
        command(f"race-{number}", direction)
        for number in range(SAGAS)
        for direction in (ACTION, ACTION, COMPENSATION, COMPENSATION)
    ]
    drawn = random.Random(1)
    commands.sort(key=lambda each: drawn.random() + 0.3 * (each.direction is COMPENSATION))
    room = asyncio.Semaphore(24)

    async def one(asked: Command) -> tuple[Direction, Sequence[Answer]]:
        async with room:
            return asked.direction, await deliver(executor, service, mishaps, asked)

    return await asyncio.gather(*(one(each) for each in commands))


def service_with_sql(mishaps: Mishaps) -> Participant:
    """Effects are rows in the guard's transaction."""
    service = Participant("TestService")

    @service.action("Do")
    async def do(command: dict[str, Any], context: Context) -> dict[str, Any]:
        mishaps.maybe_crash()
        await context.session.execute(insert(ledger).values(saga_id=context.saga_id, kind="do"))
        mishaps.maybe_fail()
        mishaps.maybe_crash()
        return {"saga": context.saga_id}

    @service.compensation("Undo")
    async def undo(command: dict[str, Any], context: Context) -> None:
        mishaps.maybe_crash()
        await context.session.execute(insert(ledger).values(saga_id=context.saga_id, kind="undo"))
        mishaps.maybe_fail()
        mishaps.maybe_crash()

    @service.prepare
    async def create(connection: AsyncConnection) -> None:
        await connection.run_sync(ledger.metadata.create_all)

    return service


class Provider:
    """A service outside, that knows idempotency keys: it has done each thing once."""

    def __init__(self) -> None:
        self.charged: set[str] = set()
        self.refunded: set[str] = set()

    @property
    def left(self) -> set[str]:
        return self.charged - self.refunded


def service_with_provider(mishaps: Mishaps, provider: Provider) -> Participant:
    """Effects lie outside of every transaction."""
    service = Participant("TestService")

    @service.action("Do", external=True)
    async def do(command: dict[str, Any], context: Context) -> None:
        mishaps.maybe_crash()
        mishaps.maybe_fail()
        provider.charged.add(context.saga_id)
        await asyncio.sleep(0)
        mishaps.maybe_crash()

    @service.compensation("Undo")
    async def undo(command: dict[str, Any], context: Context) -> None:
        if context.saga_id not in provider.charged:
            raise NotFound(context.saga_id)
        mishaps.maybe_crash()
        provider.refunded.add(context.saga_id)
        mishaps.maybe_crash()

    return service


@pytest.mark.parametrize("kind", SQL_INBOXES)
@pytest.mark.parametrize("seed", [1, 2])
async def test_effects_in_the_transaction_happen_once_and_are_undone(
    kind: str, seed: int, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    inbox = inbox_for(inbox_url_of(kind, request, tmp_path), connections=12)
    assert isinstance(inbox, SqlInbox)
    mishaps = Mishaps(seed)
    service = service_with_sql(mishaps)
    await inbox.prepare(service.preparations)
    answers = await race(inbox, service, mishaps)
    async with inbox.engine.connect() as connection:
        rows = await connection.execute(select(ledger.c.saga_id, ledger.c.kind))
        counts = Counter((row.saga_id, row.kind) for row in rows)
    await inbox.close()
    done = {saga_id for saga_id, kind in counts if kind == "do"}
    undone = {saga_id for saga_id, kind in counts if kind == "undo"}
    assert done
    assert set(counts.values()) == {1}
    assert done == undone
    assert_the_race_was_one(answers)


@pytest.mark.parametrize("kind", INBOXES)
async def test_effects_outside_are_never_left_after_their_undoing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    inbox = inbox_for(inbox_url_of(kind, request, tmp_path), connections=12)
    mishaps, provider = Mishaps(3), Provider()
    service = service_with_provider(mishaps, provider)
    await inbox.prepare(())
    answers = await race(inbox, service, mishaps)
    await inbox.close()
    assert provider.charged
    assert provider.left == set()
    assert_the_race_was_one(answers)


def assert_the_race_was_one(answers: Sequence[tuple[Direction, Sequence[Answer]]]) -> None:
    """Commands were repeated and came too late, and every compensation has succeeded."""
    ended = [(direction, given[-1]) for direction, given in answers]
    undone = [answer for direction, answer in ended if direction is COMPENSATION]
    assert all(
        answer.reply and answer.reply.type is ReplyType.COMPENSATION_COMPLETED for answer in undone
    )
    seen = {answer.outcome for _, given in answers for answer in given}
    assert seen >= {"completed", "replayed", "refused"}
