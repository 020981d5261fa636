"""Saving sagas that were decided from memory: one statement, which is a transaction of its own.

It stores those whose rows are still what the memory says, and tells which; nobody holds a lock
while we decide, and nobody who holds one is waited for.
See docs/adr/0024-a-saga-in-memory-is-saved-at-once.md.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Final, NamedTuple

from orchestrator.saga.locking import has_let_go
from orchestrator.saga.state import Decision, Saga
from orchestrator.store.at_once import AtOnce, Question, Stored
from orchestrator.store.errors import translated
from orchestrator.store.remembered import Mark, Remembered
from orchestrator.store.rows import row_of

_BELIEVED: Final = 10.0  # seconds
_AT_ONCE: Final = 0.5  # seconds: an answer that took longer says too little about the time

Ask = Callable[[Question], Awaitable[Stored | None]]


class Reading(NamedTuple):
    """What the database said of its clock and epoch, and when it was asked."""

    now: datetime
    epoch: str
    asked_at: float  # by the monotonic clock, in seconds

    def is_believed(self) -> bool:
        """Clocks drift apart by microseconds in this time. One that is set is noticed soon."""
        return monotonic() - self.asked_at < _BELIEVED

    def told_at_once(self) -> bool:
        """If it is only now that the answer came."""
        return monotonic() - self.asked_at < _AT_ONCE

    def time(self) -> datetime:
        """The database's, by now."""
        return self.now + timedelta(seconds=monotonic() - self.asked_at)


def last_reading(known: Reading | None, new: Reading) -> Reading | None:
    """The one to go by. What took long to be told says only that it is another epoch."""
    if new.told_at_once():
        return new
    return known if known is not None and known.epoch == new.epoch else None


class PostgresRecalled:
    """Sagas in memory, and how to save them. See `port.Recalled` for what it promises."""

    def __init__(
        self,
        known: Mapping[str, tuple[Mark, Saga]],
        reading: Reading,
        remembered: Remembered,
        *,
        by: AtOnce,
        ask: Ask,
    ) -> None:
        self.now = reading.time()
        self.epoch = reading.epoch
        self.sagas: Mapping[str, Saga] = {saga_id: saga for saga_id, (_, saga) in known.items()}
        self._known = known
        self._remembered = remembered
        self._by = by
        self._ask = ask

    async def save(self, new: Sequence[Decision], changed: Sequence[Decision]) -> Collection[str]:
        with translated():
            return {*await self._insert(alone(new)), *await self._save(alone(changed))}

    async def _insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        if not decisions:
            return ()
        # In id order, as everywhere: two workers that insert the same ids must not deadlock.
        ordered = sorted(decisions, key=lambda decision: decision.saga.saga_id)
        rows = [row_of(decision.saga) for decision in ordered]
        question = self._by.insertion(rows, ordered, self.epoch, self.now)
        return await self._store(question, ordered)

    async def _save(self, decisions: Sequence[Decision]) -> Collection[str]:
        if not decisions:
            return ()
        known = [self._known[decision.saga.saga_id] for decision in decisions]
        rows = [
            row_of(decision.saga, known=saga)
            for decision, (_, saga) in zip(decisions, known, strict=True)
        ]
        marks = [mark for mark, _ in known]
        question = self._by.saving(rows, decisions, marks, self.epoch, self.now)
        stored = await self._store(question, decisions)
        self._remembered.has_found(len(stored), of=len(decisions))
        return stored

    async def _store(self, question: Question, decisions: Sequence[Decision]) -> Collection[str]:
        stored = await self._ask(question)
        if stored is None:
            return ()
        sagas = {decision.saga.saga_id: decision.saga for decision in decisions}
        written = [(stored.xmin, sagas[saga_id]) for saga_id in stored.saga_ids]
        self._remembered.keep(written, epoch=self.epoch)
        return set(stored.saga_ids)


def alone(decisions: Sequence[Decision]) -> Sequence[Decision]:
    """Those that are to be stored, and for which no lock has to be let go of."""
    return [each for each in decisions if each.must_save and not has_let_go(each.saga)]
