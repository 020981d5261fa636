"""Nobody knows whether a commit took place: what follows from it is sent all the same."""

from typing import Any

from tests.worker.stage import ON_BOTH_WAYS, Desk, Stage, statuses
from tests.worker.watched import WatchedStore

pytestmark = ON_BOTH_WAYS


async def test_what_a_doubtful_commit_brought_about_is_sent(stage: Stage, desk: Desk) -> None:
    store: Any = stage.store
    async with stage.working():
        await desk.start("trip-1")
        flight = await desk.command("TestService")
        store.is_breaking = True
        await desk.answer(flight)
        await desk.command("OtherService")
    assert not store.is_breaking
    assert statuses(await desk.show("trip-1")) == {"flight": "completed", "hotel": "executing"}


async def test_a_saga_whose_first_commit_is_in_doubt_begins(stage: Stage, desk: Desk) -> None:
    store: Any = stage.store
    async with stage.working():
        await desk.start("trip-1")
        await desk.carry_out("TestService")
        store.is_breaking = True
        await desk.start("trip-2")
        assert (await desk.command("TestService")).saga_id == "trip-2"
    assert not store.is_breaking


def test_the_ways_are_those_that_are_meant(stage: Stage) -> None:
    assert isinstance(stage.store, WatchedStore)
