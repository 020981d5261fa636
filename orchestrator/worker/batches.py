"""One batch of arrivals in one transaction, whatever the database says to it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from chassis.facts import BatchCommitted, Fact, MessageRejected, Noticed, Observe
from chassis.failpoints import Failpoint, reach
from chassis.pacing import Reachability, backoff
from messaging import codec
from messaging.errors import Conflict, ProtocolError, Unavailable
from messaging.port import Delivery
from messaging.topology import Names
from orchestrator.registry import Registry
from orchestrator.saga.locking import Standing
from orchestrator.saga.state import Decision, Saga
from orchestrator.store.errors import Busy, StatementRejected
from orchestrator.store.port import Recalled, Store, Transaction
from orchestrator.worker.committed import Committed, earliest, left, together
from orchestrator.worker.confirming import confirm_published
from orchestrator.worker.intake import Arrival, doubtful, saga_id_of
from orchestrator.worker.ledger import Judgement, Ledger, Senders
from orchestrator.worker.locking import claim_for_starts, let_go_of_unbegun
from orchestrator.worker.outgoing import message_for
from orchestrator.worker.publisher import Post
from orchestrator.worker.reporting import facts_of, late_reply

T = TypeVar("T")

AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)
"""For the clock: it has to look after this commit, also if it is looking at this moment."""

LONGEST_REST: Final = 1.0
"""Seconds between two tries to save what is in hand: so long it lies when the database is back."""


class Batches:
    """Decides batches and saves them; keeps trying while the database is away."""

    def __init__(  # the worker's collaborators, all by name
        self,
        *,
        store: Store,
        registry: Registry,
        senders: Senders,
        names: Names,
        database: Reachability,
        observe: Observe,
    ) -> None:
        self._store = store
        self._registry = registry
        self._senders = senders
        self._names = names
        self._database = database
        self._observe = observe

    async def commit(
        self, arrivals: Sequence[Arrival], stopping: asyncio.Event
    ) -> Committed | None:
        """Decide and save them, but for those that it leaves; None if we stop before the
        database takes them."""
        has_tried = False

        async def decide_and_save() -> Committed:
            nonlocal has_tried
            trying = [doubtful(each) for each in arrivals] if has_tried else arrivals
            has_tried = True
            return await self._commit_from_memory(trying)

        return await self._when_there(decide_and_save, stopping)

    def report(self, committed: Committed) -> None:
        """Tell what has become of the batch."""
        for fact in committed.facts:
            self._observe(fact)

    async def take_back(self, returned: Sequence[Post], stopping: asyncio.Event) -> bool:
        """Tell sagas that their commands have no queue; False if we stop before it is saved."""

        async def tell() -> bool:
            await confirm_published(self._store, (), returned)
            return True

        return bool(await self._when_there(tell, stopping))

    async def _when_there(
        self, work: Callable[[], Awaitable[T]], stopping: asyncio.Event
    ) -> T | None:
        """What `work` gives, as soon as the database is there; None if we stop before."""
        failures = 0
        while True:
            try:
                done = await work()
            except Conflict:
                continue  # somebody else has inserted one of them: it is found now
            except Unavailable as error:
                self._database.lost(error)
                failures += 1
                if stopping.is_set():
                    return None
                await asyncio.sleep(min(backoff(failures), LONGEST_REST))
            else:
                self._database.found()
                return done

    async def _commit_from_memory(self, arrivals: Sequence[Arrival]) -> Committed:
        """In one round trip what can be decided without looking; the others after it."""
        recalled = self._store.recalled({saga_id_of(each) for each in arrivals})
        decidable = _decidable(arrivals, recalled, self._registry) if recalled else ()
        if recalled is None or not decidable:
            return await self._commit(arrivals)
        ledger = self._ledger(recalled, recalled.sagas)
        self._judge(ledger, decidable)
        await reach(Failpoint.BEFORE_COMMIT)
        try:
            stored = await recalled.save(ledger.new, ledger.changed)
        except (StatementRejected, Busy):  # of the one; of the other all may be stored
            return await self._commit([doubtful(each) for each in arrivals])
        if not stored:
            return await self._commit(arrivals)
        await reach(Failpoint.AFTER_COMMIT)
        ledger.keep_only(stored, decidable)
        done = self._done(ledger)
        others = [each for each in arrivals if saga_id_of(each) not in stored]
        return together(done, await self._commit_or_leave(others)) if others else done

    async def _commit(self, arrivals: Sequence[Arrival]) -> Committed:
        """All in one transaction. What the database rejects, or does not get to in time, is
        split until it is alone; the others do not wait for it."""
        try:
            return await self._transact(arrivals)
        except StatementRejected as error:
            if len(arrivals) == 1:
                return self._reject(arrivals[0], ProtocolError("store_rejected", str(error)))
        except Busy:
            if len(arrivals) == 1:
                return left(arrivals)
            held = await self._store.held({saga_id_of(each) for each in arrivals})
            if held:
                return await self._commit_without(held, arrivals)
        half = len(arrivals) // 2
        first = await self._commit(arrivals[:half])
        return together(first, await self._commit_or_leave(arrivals[half:]))

    async def _commit_without(
        self, held: Collection[str], arrivals: Sequence[Arrival]
    ) -> Committed:
        """Somebody has locked these sagas, nobody knows for how long: only the others."""
        free = [each for each in arrivals if saga_id_of(each) not in held]
        held_up = left([each for each in arrivals if saga_id_of(each) in held])
        return together(await self._commit(free), held_up) if free else held_up

    async def _commit_or_leave(self, arrivals: Sequence[Arrival]) -> Committed:
        """After others have been committed, which must not be forgotten."""
        try:
            return await self._commit(arrivals)
        except (Unavailable, Conflict):
            return left(arrivals)

    async def _transact(self, arrivals: Sequence[Arrival]) -> Committed:
        async with self._store.transaction() as transaction:
            sagas = await transaction.lock({saga_id_of(each) for each in arrivals} - {""})
            standings = await claim_for_starts(transaction, self._registry, arrivals, sagas)
            ledger = self._ledger(transaction, sagas, standings)
            self._judge(ledger, arrivals)
            await let_go_of_unbegun(transaction, standings, ledger.merged)
            if await transaction.insert(ledger.new):
                raise Conflict("somebody else has started one of these sagas")
            await transaction.save(ledger.changed)
            await reach(Failpoint.BEFORE_COMMIT)
        await reach(Failpoint.AFTER_COMMIT)
        done = self._done(ledger)
        return replace(done, wake_at=AT_ONCE) if transaction.has_moved_lines else done

    def _ledger(
        self,
        opened: Transaction | Recalled,
        sagas: Mapping[str, Saga],
        standings: Mapping[str, Standing] | None = None,
    ) -> Ledger:
        return Ledger(
            self._registry,
            self._senders,
            now=opened.now,
            epoch=opened.epoch,
            sagas=sagas,
            standings=standings,
        )

    def _judge(self, ledger: Ledger, arrivals: Iterable[Arrival]) -> None:
        for arrival in arrivals:
            self._apply(ledger, arrival)

    def _done(self, ledger: Ledger) -> Committed:
        """What is committed now."""
        return Committed(
            deliveries=[judgement.delivery for judgement in ledger.judgements],
            posts=[post for judgement in ledger.judgements for post in self._posts(judgement)],
            wake_at=earliest(merged.saga.wake_at for merged in ledger.merged.values()),
            facts=_facts_of(ledger),
        )

    def _apply(self, ledger: Ledger, arrival: Arrival) -> None:
        try:
            ledger.apply(arrival)
        except Exception as error:  # a fault of ours must not stop the others
            details = {"saga_id": arrival.saga_id or "", "error": repr(error)}
            self._observe(Noticed(level="error", message="cannot be decided", details=details))
            fault = ProtocolError("undecidable", f"{type(error).__name__}: {error}")
            ledger.judgements.append(Judgement(delivery=arrival.delivery, rejection=fault))

    def _posts(self, judgement: Judgement) -> Iterable[Post]:
        if judgement.decision is not None:
            yield from posts_of(self._names, judgement.decision)
        if judgement.rejection is not None:
            yield self._letter(judgement.delivery, judgement.rejection)

    def _letter(self, delivery: Delivery, error: ProtocolError) -> Post:
        return Post(message=codec.rejected(self._names, delivery, error.reason, error.detail))

    def _reject(self, arrival: Arrival, error: ProtocolError) -> Committed:
        letter = self._letter(arrival.delivery, error)
        told = _rejected(arrival.delivery, error)
        return Committed(deliveries=[arrival.delivery], posts=[letter], facts=iter([told]))


def _decidable(
    arrivals: Sequence[Arrival], recalled: Recalled, registry: Registry
) -> list[Arrival]:
    """Those of sagas in memory, and of sagas that nobody asks to start under locks."""
    starts = [(saga_id_of(each), each.start.saga_type) for each in arrivals if each.start]
    under_locks = {saga_id for saga_id, saga_type in starts if saga_type in registry.locking}
    ids = recalled.sagas.keys() | ({saga_id for saga_id, _ in starts} - under_locks)
    return [each for each in arrivals if saga_id_of(each) in ids]


def posts_of(names: Names, decision: Decision) -> Iterable[Post]:
    """What a decision sends, as messages."""
    if not decision.send:
        return
    never_sent = {line.step for line in decision.transitions}
    never_sent |= {step.name for step in decision.saga.steps if step.unroutable}
    for owed in decision.send:
        yield Post(
            message=message_for(names, decision.saga, owed),
            saga_id=decision.saga.saga_id,
            step=owed.step,
            may_have_left=owed.step not in never_sent,
            epoch=decision.saga.epoch,
        )


def _facts_of(ledger: Ledger) -> Iterator[Fact]:
    yield BatchCommitted(size=len(ledger.judgements))
    for saga_id, merged in ledger.merged.items():
        yield from facts_of(merged, is_new=ledger.is_new(saga_id))
    for judgement in ledger.judgements:
        if judgement.rejection is not None:
            yield _rejected(judgement.delivery, judgement.rejection)
        if judgement.decision is not None:
            late = late_reply(judgement.decision, judgement.step)
            if late is not None:
                yield late


def _rejected(delivery: Delivery, error: ProtocolError) -> MessageRejected:
    return MessageRejected(
        queue=delivery.queue,
        reason=error.reason,
        detail=error.detail,
        message_id=delivery.message_id,
        saga_id=delivery.correlation_id,
    )
