"""A flood of starts is let in as fast as first steps are answered."""

import asyncio
from datetime import timedelta

import pytest

from chassis.facts import Noticed, SagaAdvanced
from orchestrator.worker import admission
from tests.worker.stage import SECONDS, Desk, Stage, until

LIMIT, BATCH, FLOOD = 6, 2, 40


async def test_no_more_sagas_than_the_limit_wait_for_their_first_reply(
    stage: Stage, desk: Desk
) -> None:
    await _flood(desk)
    async with stage.working(admission_limit=LIMIT, batch_size=BATCH):
        await until(lambda: _is_told(stage))
        waiting = await stage.store.unanswered(within=timedelta(minutes=5), limit=1_000)
        assert LIMIT <= waiting < LIMIT + BATCH
        serving = asyncio.create_task(desk.serve())
        for number in range(FLOOD):
            assert await desk.ends(f"trip-{number}") == "completed"
        serving.cancel()
    # By the facts, and those of a batch of replies may be told after those of later starts.
    assert _highest(stage) < LIMIT + 2 * BATCH


async def test_a_participant_that_is_away_keeps_nobody_out_for_long(
    stage: Stage, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "FRESH", timedelta(milliseconds=100))
    await _flood(desk)
    async with stage.working(admission_limit=LIMIT, batch_size=BATCH):
        async with asyncio.timeout(SECONDS):
            for number in range(FLOOD):
                await desk.reaches(f"trip-{number}", lambda view: view.state == "started")
    assert _is_told(stage)


async def test_without_a_limit_all_are_let_in(stage: Stage, desk: Desk) -> None:
    await _flood(desk)
    async with stage.working(admission_limit=0, batch_size=BATCH):
        async with asyncio.timeout(SECONDS):
            for number in range(FLOOD):
                await desk.reaches(f"trip-{number}", lambda view: view.state == "started")
    assert not _is_told(stage)


async def _flood(desk: Desk) -> None:
    for number in range(FLOOD):
        await desk.start(f"trip-{number}", to="Rome")


def _is_told(stage: Stage) -> bool:
    return any("held back" in fact.message for fact in stage.facts_of(Noticed))


def _highest(stage: Stage) -> int:
    """How many sagas at most were started and not yet answered, as it was reported."""
    waiting: set[str] = set()
    highest = 0
    for fact in stage.facts_of(SagaAdvanced):
        if fact.state == "started":
            waiting.add(fact.saga_id)
        else:
            waiting.discard(fact.saga_id)
        highest = max(highest, len(waiting))
    return highest
