"""The worker as a whole: two queues, the clock, and the counting of stuck sagas."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from chassis.facts import GaugeMeasured, Observe
from chassis.lifecycle import supervise
from chassis.pacing import Pace, Reachability
from chassis.settings import OrchestratorSettings
from messaging.port import Broker, Delivery
from messaging.topology import Names
from orchestrator.registry import Registry
from orchestrator.store.port import Store
from orchestrator.worker.admission import Admission
from orchestrator.worker.batches import Batches
from orchestrator.worker.clock import BACKLOG_READ, Clock
from orchestrator.worker.intake import Arrival, read_reply, read_start
from orchestrator.worker.ledger import Senders
from orchestrator.worker.lock_watch import LockWatch
from orchestrator.worker.pipeline import Pipeline, Pull
from orchestrator.worker.publisher import Publisher
from orchestrator.worker.seniority import priority_of

_COUNT_STUCK_EVERY: Final = timedelta(seconds=15)


class Worker:
    """Moves sagas. Any number of workers run side by side on the same queues.

    The one that `began` first is served first, so that it finds nearly every saga in its
    memory; the others take what it cannot, and its place once it is gone.
    `quiet` is how long no delivery must have come before a deadline counts as passed. Zero only
    where nothing can wait in the queues from before, as on a broker of its own.
    """

    def __init__(
        self,
        broker: Broker,
        store: Store,
        registry: Registry,
        settings: OrchestratorSettings,
        observe: Observe,
        *,
        began: datetime,
        quiet: timedelta = BACKLOG_READ,
    ) -> None:
        names = Names(settings.namespace)
        self._broker = broker
        self._store = store
        self._settings = settings
        self._observe = observe
        self._has_locks = bool(registry.locking)
        self.database = Reachability(observe)
        self._publisher = Publisher(broker, names, observe)
        self._batches = Batches(
            store=store,
            registry=registry,
            senders=Senders(required=settings.require_user_id, users=settings.participant_users),
            names=names,
            database=self.database,
            observe=observe,
        )
        pull = Pull(
            prefetch=settings.prefetch,
            batch_size=settings.batch_size,
            priority=priority_of(began),
        )
        self._replies = self._pipeline(names.replies, read_reply, pull)
        admitted = replace(pull, admit=Admission(store, settings.admission_limit, observe).wait)
        self._starts = self._pipeline(names.starts, read_start, admitted)
        self._clock = self._new_clock(registry, names, quiet)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish what is in hand."""
        watch = LockWatch(self._store, self.database, self._observe)
        also = {"locks": watch.run(stopping)} if self._has_locks else {}
        await supervise(
            stopping,
            **also,
            replies=self._replies.run(stopping),
            starts=self._starts.run(stopping),
            clock=self._clock.run(stopping),
            stuck=self._count_stuck(stopping),
        )

    def _pipeline(self, queue: str, read: Callable[[Delivery], Arrival], pull: Pull) -> Pipeline:
        return Pipeline(
            queue=queue,
            read=read,
            broker=self._broker,
            batches=self._batches,
            publisher=self._publisher,
            wake_by=self._wake_by,
            pull=pull,
        )

    def _new_clock(self, registry: Registry, names: Names, quiet: timedelta) -> Clock:
        return Clock(
            store=self._store,
            registry=registry,
            broker=self._broker,
            names=names,
            publisher=self._publisher,
            database=self.database,
            observe=self._observe,
            last_busy=lambda: self._replies.last_busy,
            poll_interval=self._settings.poll_interval,
            quiet=quiet,
        )

    def _wake_by(self, moment: datetime) -> None:
        self._clock.wake_by(moment)

    async def _count_stuck(self, stopping: asyncio.Event) -> None:
        async def count() -> bool:
            found = await self._store.stuck()
            values: dict[tuple[str, ...], float] = {
                (each.saga_type, each.state): float(each.count) for each in found
            }
            self._observe(GaugeMeasured(name="saga_stuck_count", values=values))
            return False

        await Pace(stopping, self.database).repeat(count, interval=_COUNT_STUCK_EVERY)
