"""The clock: timeouts, pauses that are over, sagas asked for through the database."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from chassis.facts import Noticed, Observe
from chassis.failpoints import Failpoint, reach
from chassis.pacing import Pace, Reachability, backoff
from messaging.errors import Conflict, DefinitionError, Unavailable
from messaging.port import Broker
from messaging.topology import Names
from orchestrator.backoff import retry_delay
from orchestrator.registry import Registry
from orchestrator.saga.decide import decide
from orchestrator.saga.locking import Standing
from orchestrator.saga.start import refuse
from orchestrator.saga.state import Decision, Saga, TimeReached
from orchestrator.store.errors import Busy, StatementRejected
from orchestrator.store.port import Outlook, Store, Transaction
from orchestrator.worker.batches import AT_ONCE, LONGEST_REST, posts_of
from orchestrator.worker.confirming import confirm_published
from orchestrator.worker.hearing import Hearing
from orchestrator.worker.locking import begun, claim_for_due
from orchestrator.worker.publisher import Publisher
from orchestrator.worker.reporting import facts_of

_BATCH: Final = 100
_DOUBTS: Final = 1000  # sagas in doubt that are woken at a time
BACKLOG_READ: Final = timedelta(seconds=1)
"""So long without a delivery: what had been waiting in the queues has been read."""

_PATIENCE: Final = 30.0  # seconds that a backlog may hold the clock back
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Clock:
    """Wakes sagas that are due. Any number of clocks may run: due rows are skipped if locked.

    After broker or database were away, replies wait in the queues whose steps have passed
    their deadline meanwhile: the clock stands still until they have been read. Another worker
    may have them in hand, and see `LONGEST_REST` later that the database is back.
    """

    def __init__(  # noqa: PLR0913  # the worker's collaborators, all by name
        self,
        *,
        store: Store,
        registry: Registry,
        broker: Broker,
        names: Names,
        publisher: Publisher,
        database: Reachability,
        observe: Observe,
        last_busy: Callable[[], float],
        poll_interval: timedelta,
        quiet: timedelta = BACKLOG_READ,
    ) -> None:
        self._store = store
        self._registry = registry
        self._broker = broker
        self._names = names
        self._publisher = publisher
        self._database = database
        self._observe = observe
        self._last_busy = last_busy
        self._poll = poll_interval.total_seconds()
        self._quiet = quiet.total_seconds()
        self._grace = 0.0  # seconds in which other workers find the database again
        self._ready_since: float | None = None
        self._has_caught_up = False
        self._complained: set[str] = set()
        self._has_moved_lines = False  # of locks: sagas may be next that have to be woken
        self._epoch: str | None = None  # in which no saga is in doubt that has not been woken
        self._database_told: tuple[datetime, float] | None = None  # its time, at the loop's
        self._sleeps_until = _NEVER
        self._announced = _NEVER  # the earliest moment since the last look began
        self._is_asked = False  # to look at once, since sagas were last moved
        self._woken = asyncio.Event()

    def wake_by(self, moment: datetime) -> None:
        """Something will be due then: look at the latest at that time."""
        self._is_asked |= moment == AT_ONCE
        self._announced = min(self._announced, moment)
        if moment < self._sleeps_until:
            self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set."""
        hearing = Hearing(self._store)
        pace = Pace(stopping, self._database)
        try:
            while not stopping.is_set():
                try:
                    heard = hearing.task(self._poll)  # before we look: nothing is missed after
                    await self._wait(heard, stopping, await self._move_what_is_due(stopping))
                except Conflict:
                    continue  # somebody else has moved one of them: look again
                except Unavailable as error:
                    self._database.lost(error)
                    await self._outlast(pace)
        finally:
            await hearing.stop()

    async def _outlast(self, pace: Pace) -> None:
        """Wait until the database answers. From then on others have time to notice, too."""
        for failures in itertools.count(1):
            await pace.rest(backoff(failures))
            if pace.stopping.is_set():
                return
            with suppress(Unavailable):
                await self._store.outlook()
                break
        self._hold_back()
        self._grace = LONGEST_REST

    async def _move_what_is_due(self, stopping: asyncio.Event) -> Outlook:
        """All of it, as far as it can be moved now; what there is to wait for after that."""
        outlook = await self._look()
        if not self._may_tick():
            return outlook
        self._grace = 0.0
        is_at_rest = outlook.epoch == self._epoch and not outlook.is_due
        if is_at_rest and not self._is_asked and not self._registry.locking:
            return outlook
        while self._may_tick() and await self._tick(stopping):
            pass
        return await self._look()

    async def _look(self) -> Outlook:
        self._announced = _NEVER  # what was announced before is saved, and will be seen
        outlook = await self._store.outlook()
        self._database.found()
        self._database_told = outlook.now, asyncio.get_running_loop().time()
        return outlook

    def _may_tick(self) -> bool:
        now = asyncio.get_running_loop().time()
        if not self._broker.is_ready():
            self._hold_back()
            return False
        if self._ready_since is None:
            self._ready_since = now
        if not self._has_caught_up:
            quiet_since = max(self._ready_since, self._last_busy())
            patient_until = self._ready_since + _PATIENCE
            is_quiet = now - quiet_since >= self._quiet + self._grace
            self._has_caught_up = is_quiet or now >= patient_until
        return self._has_caught_up

    def _now(self) -> datetime | None:
        """The database's time, reckoned on from when it told it last: the wall clock of this
        machine may be hours off. None if it has not told it yet."""
        if self._database_told is None:
            return None
        told, at = self._database_told
        return told + timedelta(seconds=asyncio.get_running_loop().time() - at)

    def _hold_back(self) -> None:
        """Replies may be waiting that have not been read: their steps are not late."""
        self._ready_since, self._has_caught_up = None, False

    async def _tick(self, stopping: asyncio.Event) -> bool:
        """Move what is due; True if there may be more."""
        try:
            due, decisions = await self._move_due()
        except (StatementRejected, Busy):
            due, decisions = await self._move_singly()
        for decision in decisions:
            is_new = any(transition.version == 1 for transition in decision.transitions)
            for fact in facts_of(decision, is_new=is_new):
                self._observe(fact)
        await self._send(decisions, stopping)
        is_more = len(decisions) == due == _BATCH or self._has_moved_lines
        return is_more and not stopping.is_set()

    async def _move_due(self) -> tuple[int, Sequence[Decision]]:
        """How many sagas were due, and what was decided of them and saved."""
        self._is_asked = self._has_moved_lines = False
        async with self._store.transaction() as transaction:
            is_known = transaction.epoch == self._epoch
            woken = 0 if is_known else await transaction.wake_doubtful(_DOUBTS)
            if self._registry.locking:
                await transaction.wake_next_in_line(_BATCH)
            due = await transaction.lock_due(_BATCH, self._registry.saga_types)
            standings = await claim_for_due(transaction, self._registry, due)
            decisions = self._decided(due, transaction, standings)
            await transaction.save(decisions)
            if decisions:
                await reach(Failpoint.TIMER_BEFORE_COMMIT)
        self._has_moved_lines = transaction.has_moved_lines
        self._epoch = transaction.epoch if woken < _DOUBTS else None
        if woken:
            self._tell_of_doubts(woken, transaction.epoch)
        return len(due), decisions

    def _tell_of_doubts(self, woken: int, epoch: str) -> None:
        message = "the database has lost commits, or was restored: sagas are in doubt"
        self._observe(
            Noticed(level="warning", message=message, details={"sagas": woken, "epoch": epoch})
        )

    async def _move_singly(self) -> tuple[int, Sequence[Decision]]:
        """The same, each in a transaction of its own: the database rejects one of them."""
        async with self._store.transaction() as transaction:
            due = await transaction.lock_due(_BATCH, self._registry.saga_types)
        moved: list[Decision] = []
        for saga_id in (saga.saga_id for saga in due):
            try:
                async with self._store.transaction() as transaction:
                    found = (await transaction.lock({saga_id})).values()
                    is_due = [each for each in found if _is_due(each, transaction.now)]
                    standings = await claim_for_due(transaction, self._registry, is_due)
                    decisions = self._decided(is_due, transaction, standings)
                    await transaction.save(decisions)
            except StatementRejected as error:
                self._complain(saga_id, error)
            except Busy:
                continue  # it stays due
            else:
                moved += decisions
        return len(due), moved

    def _decided(
        self, due: Sequence[Saga], transaction: Transaction, standings: Mapping[str, Standing]
    ) -> Sequence[Decision]:
        """What follows for each; a saga that cannot be decided must not stop the others."""
        decisions = []
        for saga in due:
            try:
                decisions.append(self._decide(saga, transaction, standings.get(saga.saga_id)))
            except Exception as error:  # a fault of ours, or of the author's definition
                self._complain(saga.saga_id, error)
        return decisions

    def _complain(self, saga_id: str, error: Exception) -> None:
        """Once: the saga stays due, and is counted as stuck."""
        if saga_id not in self._complained:
            self._complained.add(saga_id)
            details = {"saga_id": saga_id, "error": f"{type(error).__name__}: {error}"}
            message = "a saga that is due cannot be moved"
            self._observe(Noticed(level="error", message=message, details=details))

    def _decide(self, saga: Saga, transaction: Transaction, standing: Standing | None) -> Decision:
        now = transaction.now
        if saga.steps or saga.state.is_final:
            return decide(saga, TimeReached(), now=now, delay=retry_delay)
        try:
            return begun(self._registry, saga, standing, now=now)
        except DefinitionError as error:
            return refuse(saga, str(error), now=now, delay=retry_delay)

    async def _send(self, decisions: Sequence[Decision], stopping: asyncio.Event) -> None:
        """Publish what the sagas owe, then tell them so. Until then `resend_at` guards it."""
        sending = [decision for decision in decisions if decision.send]
        if not sending:
            return
        posts = [post for decision in sending for post in posts_of(self._names, decision)]
        await reach(Failpoint.TIMER_AFTER_COMMIT)
        returned = await self._publisher.deliver(posts, stopping)
        if returned is not None:
            await reach(Failpoint.TIMER_AFTER_PUBLISH)
            sagas = [decision.saga for decision in sending]
            await confirm_published(self._store, sagas, returned)

    async def _wait(
        self, heard: asyncio.Task[None], stopping: asyncio.Event, outlook: Outlook
    ) -> None:
        """Until something is due, is announced, or it is time to look anyway."""
        if self._is_asked and self._has_caught_up:
            return
        self._woken.clear()
        pause, now = self._pause(outlook), self._now()
        self._sleeps_until = now + timedelta(seconds=pause) if now else _NEVER
        waits = [asyncio.ensure_future(event.wait()) for event in (stopping, self._woken)]
        try:
            wanted = {heard, *waits}
            await asyncio.wait(wanted, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _pause(self, outlook: Outlook) -> float:
        """Until the next saga is due, at most the poll interval."""
        if not self._may_tick():
            return min(self._poll, 0.2)
        due, now = min(outlook.next_wake_at or _NEVER, self._announced), self._now()
        if due == _NEVER:
            return self._poll
        # Only a guess of when to look: what is due the database says.
        seconds = (due - now).total_seconds() if now else 0.0
        return min(self._poll, max(0.01, seconds))


def _is_due(saga: Saga, now: datetime) -> bool:
    return saga.in_doubt or (saga.wake_at is not None and saga.wake_at <= now)
