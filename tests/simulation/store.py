"""The orchestrator's store over the database in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from messaging.errors import Conflict, SagaError
from orchestrator.saga.state import Decision, Saga, Transition
from orchestrator.store.errors import StatementRejected
from orchestrator.store.port import Outlook, StuckSagas
from orchestrator.store.rows import in_epoch
from tests.simulation.database import Database, Host, Peace, Transaction
from tests.simulation.recalled import Memory, SimulatedRecalled, recalled

SAGAS: Final = "sagas"
HISTORY: Final = "saga_history"
_OVERDUE: Final = timedelta(seconds=10)


class StoreTransaction:
    """The port's transaction; `rows` is the database's own, for other programs' tables.

    Without locks: no definition of the simulator's has any.
    """

    has_moved_lines = False

    def __init__(self, rows: Transaction, host: Host, memory: Memory) -> None:
        self.rows = rows
        self.now: datetime = rows.now
        self.epoch: str = rows.epoch
        self._host = host
        self._memory = memory
        self.saved: list[Saga] = []
        self.failure: SagaError | None = None

    async def reach(self, call: str) -> None:
        """A statement of another program's."""
        await self._host.reach(call)

    async def lock(self, saga_ids: Collection[str]) -> Mapping[str, Saga]:
        if not saga_ids:
            return {}
        await self._host.reach("lock")
        found = {}
        for saga_id in sorted(saga_ids):
            if self.rows.read(SAGAS, saga_id) is None:
                continue
            await self.rows.hold((SAGAS, saga_id))
            saga = self.rows.read(SAGAS, saga_id)
            if saga is not None:
                found[saga_id] = in_epoch(saga, self.epoch)
        self._memory.look_up(self, found)
        return found

    async def lock_due(self, limit: int, saga_types: Collection[str]) -> Sequence[Saga]:
        await self._host.reach("lock due")
        due = [
            saga
            for saga in self.rows.all(SAGAS).values()
            if _is_due(saga, self.now) and (saga.steps or saga.saga_type in saga_types)
        ]
        due.sort(key=lambda saga: (saga.wake_at, saga.saga_id))
        found: list[Saga] = []
        for saga in due:
            if len(found) < limit and self.rows.holds_at_once((SAGAS, saga.saga_id)):
                found.append(in_epoch(saga, self.epoch))
        return found

    async def wake_doubtful(self, limit: int) -> int:
        await self._host.reach("wake doubtful")
        doubtful = [
            saga
            for saga in self.rows.all(SAGAS).values()
            if saga.epochs and saga.epoch != self.epoch and not saga.state.is_final
            if saga.wake_at is None or saga.wake_at > self.now
        ]
        free = [each for each in doubtful if self.rows.holds_at_once((SAGAS, each.saga_id))]
        for saga in free[:limit]:
            self.rows.write(SAGAS, saga.saga_id, replace(saga, resend_at=self.now))
        return len(free[:limit])

    async def insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        if not decisions:
            return frozenset()
        await self._host.reach("insert")
        taken = set()
        for decision in sorted(decisions, key=lambda each: each.saga.saga_id):
            saga_id = decision.saga.saga_id
            await self.rows.hold((SAGAS, saga_id))  # as a unique index makes others wait
            if self.rows.read(SAGAS, saga_id) is not None:
                taken.add(saga_id)
            else:
                self.put(decision)
        return frozenset(taken)

    async def save(self, decisions: Sequence[Decision]) -> None:
        changed = [decision for decision in decisions if decision.must_save]
        if not changed:
            return
        await self._host.reach("save")
        gone = [each for each in changed if self.rows.read(SAGAS, each.saga.saga_id) is None]
        if gone:
            self.failure = Conflict(f"{len(gone)} of {len(changed)} sagas to save are gone")
            raise self.failure
        for decision in changed:
            self.put(decision)

    async def notify(self) -> None:
        self.rows.notify()

    def put(self, decision: Decision) -> None:
        """Row and history."""
        saga = decision.saga
        self.rows.write(SAGAS, saga.saga_id, saga)
        for line in decision.transitions:
            key = (saga.saga_id, line.version)
            if self.rows.excludes and self.rows.read(HISTORY, key) is not None:
                self.failure = StatementRejected(f"history {key} is there already")
                raise self.failure
            self.rows.write(HISTORY, key, line)
        self.saved.append(saga)


class SimulatedStore:
    """The port over one database, as one program has it."""

    def __init__(
        self,
        database: Database,
        host: Host | None = None,
        *,
        stuck_after: timedelta = timedelta(minutes=10),
    ) -> None:
        self.database = database
        self.host = host or Peace()
        self.memory = Memory()  # of this program: a store is made when it starts
        self._stuck_after = stuck_after
        self._announced = asyncio.Event()
        database.listeners.append(self._announced.set)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[StoreTransaction]:
        asked_at = monotonic()
        await self.host.reach("begin")
        async with self._transaction("commit") as transaction:
            self.memory.told(transaction, asked_at)
            yield transaction
            if transaction.failure is not None:
                raise transaction.failure
            await self.host.reach("commit")

    @asynccontextmanager
    async def at_once(self, call: str) -> AsyncIterator[StoreTransaction]:
        """What a statement does that is a transaction of its own."""
        await self.host.reach(call)
        async with self._transaction(call) as transaction:
            yield transaction

    @asynccontextmanager
    async def _transaction(self, call: str) -> AsyncIterator[StoreTransaction]:
        rows = self.database.begin(self.host)
        transaction = StoreTransaction(rows, self.host, self.memory)
        try:
            yield transaction
            rows.commit()
        finally:
            rows.end()
        await self.host.leave(call)
        self.memory.keep(transaction)

    def recalled(self, saga_ids: Collection[str]) -> SimulatedRecalled | None:
        return recalled(self, saga_ids)

    async def wait_for_due(self, timeout: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._announced.wait()
        self._announced.clear()

    async def outlook(self) -> Outlook:
        await self.host.reach("outlook")
        self.database.check()
        now = self.database.now
        moments = [saga.wake_at for saga in self.database.table(SAGAS).values() if saga.wake_at]
        is_due = any(each <= now for each in moments)
        soon = min((each for each in moments if each > now - _OVERDUE), default=None)
        return Outlook(now, str(self.database.epoch), is_due, soon)

    async def unanswered(self, *, within: timedelta, limit: int) -> int:
        await self.host.reach("unanswered")
        self.database.check()
        since = self.database.now - within
        fresh = [
            saga
            for saga in self.database.table(SAGAS).values()
            if saga.state.value == "started" and saga.created_at > since
        ]
        return min(limit, len(fresh))

    async def stuck(self) -> Sequence[StuckSagas]:
        await self.host.reach("stuck")
        self.database.check()
        now = self.database.now
        stuck = [
            (saga.saga_type, saga.state.value)
            for saga in self.database.table(SAGAS).values()
            if _is_stuck(saga, now, self._stuck_after)
        ]
        return [
            StuckSagas(saga_type=saga_type, state=state, count=count)
            for (saga_type, state), count in Counter(stuck).items()
        ]

    async def check(self) -> None:
        self.database.check()

    async def close(self) -> None:
        self.database.listeners.remove(self._announced.set)


def history_of(database: Database, saga_id: str) -> list[Transition]:
    """The committed history, as the table has it."""
    lines = database.table(HISTORY).items()
    return [
        line for (known, _), line in sorted(lines, key=lambda item: item[0]) if known == saga_id
    ]


def _is_due(saga: Saga, now: datetime) -> bool:
    return saga.wake_at is not None and saga.wake_at <= now


def _is_stuck(saga: Saga, now: datetime, stuck_after: timedelta) -> bool:
    is_waiting = saga.wake_at is not None and saga.wake_at > now
    return not saga.state.is_final and saga.updated_at < now - stuck_after and not is_waiting
