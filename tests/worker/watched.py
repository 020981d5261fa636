"""A real store of which a test sees, or says, which way sagas are saved."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from messaging.errors import Unavailable
from orchestrator.saga.state import Decision
from orchestrator.store.database import DatabaseStore, DatabaseTransaction
from orchestrator.store.port import Recalled


class WatchedStore:
    """Notes what is saved at once and what is locked before. It may lose the answer to either."""

    def __init__(self, store: DatabaseStore, *, remembers: bool = True) -> None:
        self._store = store
        self._remembers = remembers
        self.at_once: list[str] = []
        self.locked: list[str] = []
        self.is_breaking = False  # its connection, after the next commit, before it is answered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[DatabaseTransaction]:
        async with self._store.transaction() as transaction:
            yield transaction
        self.locked += transaction._locked
        self.lose_answer(transaction._locked)

    def recalled(self, saga_ids: Collection[str]) -> "WatchedRecalled | None":
        found = self._store.recalled(saga_ids) if self._remembers else None
        return None if found is None else WatchedRecalled(found, self)

    def lose_answer(self, saga_ids: Collection[str]) -> None:
        """If it is breaking, and there is anything to be told."""
        if self.is_breaking and saga_ids:
            self.is_breaking = False
            raise Unavailable("the connection was lost while committing")


class WatchedRecalled:
    """What the store has in memory, and whether it was saved."""

    def __init__(self, recalled: Recalled, store: WatchedStore) -> None:
        self.now, self.epoch, self.sagas = recalled.now, recalled.epoch, recalled.sagas
        self._recalled = recalled
        self._store = store

    async def save(self, new: Sequence[Decision], changed: Sequence[Decision]) -> Collection[str]:
        stored = await self._recalled.save(new, changed)
        self._store.at_once += stored
        self._store.lose_answer(stored)
        return stored
