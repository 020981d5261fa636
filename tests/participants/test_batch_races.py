"""Two replicas take batches from one pool of commands that overlap, and crash among them:
every effect at most once, and none left after its undoing."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from tenacity import wait_none

from messaging.contract import Direction, ReplyType
from messaging.errors import Conflict
from messaging.port import Delivery
from participants import Participant
from participants.assignment import Assignment
from participants.execution import Answer, Executor
from participants.inbox import Inbox
from participants.runner import inbox_for
from participants.sql_inbox import SqlInbox
from participants.together import BatchExecutor
from tests.conformance.inbox_fixtures import SQL_INBOXES, inbox_url_of
from tests.conformance.test_inbox_races import Crash, Mishaps, command, ledger, service_with_sql

SAGAS = 80
ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
_DELIVERY = Delivery(queue="q", exchange="e", routing_key="k", body=b"", tag=1, session=1)


class Replica:
    """Takes what lies on the pile in batches; what is not answered for good lies there again."""

    def __init__(self, inbox: Inbox, mishaps: Mishaps, pile: deque[Assignment]) -> None:
        self.answers: list[tuple[Direction, Answer]] = []
        self._batches = BatchExecutor(inbox)
        self._alone = Executor(inbox, tries=1, pauses=wait_none())
        self._mishaps = mishaps
        self._pile = pile

    async def work(self) -> None:
        while self._pile:
            count = min(len(self._pile), 10)
            batch = [self._pile.popleft() for _ in range(count)]
            try:
                answers = await self._answers_to(batch)
                self._mishaps.maybe_crash()
            except Crash:
                self._pile.extend(batch)
                continue
            for each, answer in zip(batch, answers, strict=True):
                self._take(each, answer)

    async def _answers_to(self, batch: Sequence[Assignment]) -> Sequence[Answer]:
        answers: Sequence[Answer | None] = [None] * len(batch)
        with suppress(Conflict):
            answers = await self._batches.execute(batch)
        return [
            answer or await self._alone.execute(each.command, each.handler)
            for each, answer in zip(batch, answers, strict=True)
        ]

    def _take(self, assignment: Assignment, answer: Answer) -> None:
        reply = answer.reply
        assert reply is not None
        self.answers.append((assignment.command.direction, answer))
        if reply.retryable or reply.type is ReplyType.COMPENSATION_FAILED:
            asked = assignment.command
            again = replace(asked, attempt=asked.attempt + 1)
            self._pile.append(replace(assignment, command=again))


def pile_of(service: Participant, seed: int) -> deque[Assignment]:
    """Each command twice, in an order drawn by chance, compensations rather late."""
    commands = [
        command(f"race-{number}", direction)
        for number in range(SAGAS)
        for direction in (ACTION, ACTION, COMPENSATION, COMPENSATION)
    ]
    chance = random.Random(seed)
    commands.sort(key=lambda each: chance.random() + 0.3 * (each.direction is COMPENSATION))
    handlers = service.handlers
    return deque(
        Assignment(delivery=_DELIVERY, command=each, handler=handlers[each.name])
        for each in commands
    )


@pytest.mark.parametrize("kind", SQL_INBOXES)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_batches_of_two_replicas_that_overlap_give_every_command_one_effect(
    kind: str, seed: int, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    url = inbox_url_of(kind, request, tmp_path)
    inboxes = [inbox_for(url, connections=2) for _ in range(2 if kind == "postgres" else 1)]
    mishaps = Mishaps(seed)
    service = service_with_sql(mishaps)
    await inboxes[0].prepare(service.preparations)
    pile = pile_of(service, seed)
    replicas = [Replica(inboxes[n % len(inboxes)], mishaps, pile) for n in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(each.work() for each in replicas))
    counts = await _effects(inboxes[0])
    for each in inboxes:
        await each.close()
    assert set(counts.values()) == {1}
    assert {saga for saga, kind in counts if kind == "do"} == {
        saga for saga, kind in counts if kind == "undo"
    }
    answers = [answer for each in replicas for answer in each.answers]
    undone = [a for d, a in answers if d is COMPENSATION and a.outcome != "failed"]
    assert len(undone) == 2 * SAGAS
    assert {answer.outcome for _, answer in answers} >= {"completed", "replayed", "refused"}


async def _effects(inbox: Inbox) -> Counter[tuple[str, str]]:
    assert isinstance(inbox, SqlInbox)
    async with inbox.engine.connect() as connection:
        rows = await connection.execute(select(ledger.c.saga_id, ledger.c.kind))
        return Counter((row.saga_id, row.kind) for row in rows)
