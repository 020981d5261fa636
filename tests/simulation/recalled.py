"""What a simulated worker remembers of the sagas that it saved, and saving them at once.

The memory itself is the product's; here is what its two statements do in the database.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from orchestrator.saga.state import Decision, Saga
from orchestrator.store.recalled import Reading, alone, last_reading
from orchestrator.store.remembered import Mark, Remembered

if TYPE_CHECKING:
    from tests.simulation.store import SimulatedStore, StoreTransaction

SAGAS: Final = "sagas"
_OFF: Final = 1.0  # seconds, of a moment at which nothing is decided any more


class Memory:
    """Of one program, and gone with it: its sagas, and the last that it heard of the time."""

    def __init__(self) -> None:
        self.sagas = Remembered()
        self.reading: Reading | None = None

    def told(self, transaction: "StoreTransaction", asked_at: float) -> None:
        """What a transaction has read when it began."""
        reading = Reading(transaction.now, transaction.epoch, asked_at)
        self.reading = last_reading(self.reading, reading)

    def look_up(self, transaction: "StoreTransaction", saga_ids: Collection[str]) -> None:
        """Whether rows that are locked now are still those that were written here."""
        known = self.sagas.recall(saga_ids, epoch=transaction.epoch)
        if known:
            marks = {each: mark_of(transaction, each) for each in saga_ids}
            same = [each for each, mark in marks.items() if mark and self.sagas.get(each, mark)]
            self.sagas.has_found(len(same), of=len(known))

    def keep(self, transaction: "StoreTransaction") -> None:
        """After its commit."""
        written = [(transaction.rows.number, saga) for saga in transaction.saved]
        self.sagas.keep(written, epoch=transaction.epoch)


class SimulatedRecalled:
    """The port's sagas in memory."""

    def __init__(
        self, store: "SimulatedStore", known: Mapping[str, tuple[Mark, Saga]], reading: Reading
    ) -> None:
        self.now = reading.time()
        self.epoch = reading.epoch
        self.sagas = {saga_id: saga for saga_id, (_, saga) in known.items()}
        self._known = known
        self._store = store
        self._memory = store.memory

    async def save(self, new: Sequence[Decision], changed: Sequence[Decision]) -> Collection[str]:
        inserted = await self._at_once("insert at once", alone(new), self._insert)
        saved = await self._at_once("save at once", alone(changed), self._save)
        if alone(changed):
            self._memory.sagas.has_found(len(saved), of=len(alone(changed)))
        return {*inserted, *saved}

    async def _at_once(
        self,
        call: str,
        decisions: Sequence[Decision],
        store: Callable[["StoreTransaction", Sequence[Decision]], Awaitable[object]],
    ) -> Collection[str]:
        """One statement, and its transaction."""
        if not decisions:
            return ()
        asked_at = monotonic()
        async with self._store.at_once(call) as transaction:
            is_now = abs((transaction.now - self.now).total_seconds()) < _OFF
            if is_now and transaction.epoch == self.epoch:
                await store(transaction, decisions)
        if transaction.saved:
            self._memory.told(transaction, asked_at)
        return {saga.saga_id for saga in transaction.saved}

    async def _insert(self, transaction: "StoreTransaction", new: Sequence[Decision]) -> None:
        await transaction.insert(new)

    async def _save(self, transaction: "StoreTransaction", changed: Sequence[Decision]) -> None:
        for decision in changed:
            if self._may_save(transaction, decision.saga.saga_id):
                transaction.put(decision)

    def _may_save(self, transaction: "StoreTransaction", saga_id: str) -> bool:
        mark, _ = self._known[saga_id]
        is_same = self.is_same(mark, mark_of(transaction, saga_id))
        return is_same and transaction.rows.holds_at_once((SAGAS, saga_id))

    def is_same(self, remembered: Mark, found: Mark | None) -> bool:
        """Whether it is the row that was written here."""
        return found == remembered


def recalled(store: "SimulatedStore", saga_ids: Collection[str]) -> SimulatedRecalled | None:
    """See `port.Store.recalled`."""
    reading, sagas = store.memory.reading, store.memory.sagas
    if reading is None or not reading.is_believed():
        return None
    known = sagas.recall(saga_ids, epoch=reading.epoch) if sagas.is_ours_alone else {}
    return SimulatedRecalled(store, known, reading)


def mark_of(transaction: "StoreTransaction", saga_id: str) -> Mark | None:
    """Of the row that is committed."""
    saga: Any = transaction.rows.read(SAGAS, saga_id)
    if saga is None:
        return None
    xmin = transaction.rows.database.xmin(SAGAS, saga_id)
    return Mark(xmin, saga.version, saga.updated_at, transaction.epoch)
