"""Nobody knows whether a commit took place: what follows from it is sent all the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from messaging.errors import Unavailable
from orchestrator.store.database import DatabaseStore, DatabaseTransaction
from tests.worker.stage import Desk, Stage, statuses


class DoubtfulStore:
    """A real store whose connection breaks after a commit, before anybody learns of it."""

    def __init__(self, store: DatabaseStore) -> None:
        self._store = store
        self.is_breaking = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[DatabaseTransaction]:
        async with self._store.transaction() as transaction:
            yield transaction
        if self.is_breaking and transaction._locked:
            self.is_breaking = False
            raise Unavailable("the connection was lost while committing")


async def test_what_a_doubtful_commit_brought_about_is_sent(stage: Stage, desk: Desk) -> None:
    store: Any = DoubtfulStore(stage.store)
    async with stage.working(store=store):
        await desk.start("trip-1")
        flight = await desk.command("TestService")
        store.is_breaking = True
        await desk.answer(flight)
        await desk.command("OtherService")
    assert not store.is_breaking
    assert statuses(await desk.show("trip-1")) == {"flight": "completed", "hotel": "executing"}
