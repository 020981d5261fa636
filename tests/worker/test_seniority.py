"""Of several workers the one that began first is served first, and the others stand by."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from chassis.facts import SagaAdvanced
from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for
from orchestrator.worker.seniority import priority_of
from tests.faults.brokers import ForgetfulBroker
from tests.worker.stage import TOGETHER, Desk, Stage

SAGAS = [f"trip-{number}" for number in range(30)]


async def test_the_older_moves_every_saga_and_after_it_the_younger(
    stage: Stage, desk: Desk, serving: object
) -> None:
    assert serving
    older, younger = (replace(stage, facts=[]) for _ in range(2))
    async with own_store(stage) as own, younger.working(store=own, began=TOGETHER):
        async with older.working(began=TOGETHER - timedelta(milliseconds=1)):
            await _until_it_works(older, desk)
            for saga_id in SAGAS:
                await desk.start(saga_id)
            assert {await desk.ends(saga_id) for saga_id in SAGAS} == {"completed"}
        assert _moved_by(older) >= set(SAGAS)
        assert _moved_by(younger).isdisjoint(SAGAS)
        await desk.start("afterwards")
        assert await desk.ends("afterwards") == "completed"
    assert "afterwards" in _moved_by(younger)


async def test_what_the_older_has_no_room_for_the_younger_takes(
    stage: Stage, desk: Desk, serving: object
) -> None:
    assert serving
    older, younger = (replace(stage, facts=[]) for _ in range(2))
    full = ForgetfulBroker(stage.new_broker())  # once it has one message in hand
    before = TOGETHER - timedelta(milliseconds=1)
    async with (
        own_store(stage) as own,
        younger.working(store=own),
        older.working(broker=full, began=before, prefetch=1),
    ):
        await _until_it_works(older, desk)
        for saga_id in SAGAS:
            await desk.start(saga_id)
        assert {await desk.ends(saga_id) for saga_id in SAGAS} == {"completed"}
    assert _moved_by(younger) >= set(SAGAS)


def test_whoever_began_earlier_has_the_higher_priority() -> None:
    began = datetime(2026, 11, 21, 12, tzinfo=UTC)
    moments = [began - timedelta(days=400), began, began + timedelta(milliseconds=1)]
    assert all(priority_of(one) > priority_of(two) for one, two in itertools.pairwise(moments))
    late = datetime(9999, 12, 31, tzinfo=UTC)
    assert -(2**63) <= priority_of(late) < priority_of(began) < 0


@asynccontextmanager
async def own_store(stage: Stage) -> AsyncIterator[DatabaseStore]:
    """Of the same database: a store is for one worker at a time."""
    store = store_for(stage.database_url)
    yield store
    await store.close()


async def _until_it_works(who: Stage, desk: Desk) -> None:
    """One saga after the other, until one is its own."""
    for number in itertools.count():
        saga_id = f"{number}-before"
        await desk.start(saga_id)
        await desk.ends(saga_id)
        if who.facts:
            return


def _moved_by(stage: Stage) -> set[str]:
    return {fact.saga_id for fact in stage.facts_of(SagaAdvanced)}
