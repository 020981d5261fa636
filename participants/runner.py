"""Participants at work: over a broker and an inbox that somebody gives, or as a program."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from chassis.facts import ConnectionChanged, Noticed, Observe
from messaging.errors import ConfigurationError, Unavailable
from messaging.port import Broker
from messaging.topology import Names
from participants.choreography.definition import Choreography
from participants.choreography.log import EventLog
from participants.choreography.memory_log import MemoryEventLog
from participants.choreography.service import SWEEP_AFTER, ChoreographyService, Hall
from participants.choreography.starting import Starts
from participants.execution import PAUSES, TRIES, Executor, Pauses
from participants.inbox import RETENTION, Inbox
from participants.memory_inbox import MemoryInbox
from participants.participant import Participant
from participants.replies import Replies
from participants.service import Service, Surroundings
from participants.settling import pauses
from participants.together import BatchExecutor

Hosted = Participant | Choreography
"""What a runner runs."""

_WATCH_EVERY: Final = 5.0
_PURGE_EVERY: Final = 3600.0
_START_TIMEOUT: Final = 30.0


class Runner:
    """Runs participants and choreographed services over an open broker until told to stop.

    `observe` is told every CommandHandled, EventHandled and MessageRejected. `concurrency`
    counts commands, or events, of one service that are handled by themselves; `prefetch` is
    what the broker hands over in advance: not said, twice that, and at least 500 for
    participants with batches. `sweep_after`: how long emitted events may be owed before they
    are published whoever else may do it.
    """

    def __init__(  # noqa: PLR0913  # what all services of a program share, all by name
        self,
        *participants: Hosted,
        broker: Broker,
        inbox: Inbox,
        names: Names,
        observe: Observe,
        concurrency: int = 10,
        prefetch: int | None = None,
        tries: int = TRIES,
        pauses: Pauses = PAUSES,
        sweep_after: timedelta = SWEEP_AFTER,
    ) -> None:
        refuse_duplicates(participants)
        self.replies: Final = Replies(broker, inbox, names)
        self.began: Final = asyncio.Event()  # the queues of all participants are asked for
        self._participants = participants
        self._inbox = inbox
        self._observe = observe
        self._problem: str | None = "the inbox has not been prepared yet"
        self._was_up: bool | None = None  # not tried yet
        self._is_prepared = False
        self._log: Final = event_log_for(inbox, names)
        self.starts: Final = Starts(broker, self._log, names)
        shared: dict[str, Any] = {
            "broker": broker,
            "names": names,
            "observe": observe,
            "report_inbox": self._report_inbox,
            "concurrency": concurrency,
            "prefetch": prefetch,
        }
        guard: dict[str, Any] = {"tries": tries, "pauses": pauses}
        self._hall = Hall(log=self._log, sweep_after=sweep_after, **guard, **shared)
        executor = Executor(inbox, **guard)
        batches = BatchExecutor(inbox)
        self._surroundings = Surroundings(executor=executor, batches=batches, **shared)

    def inbox_problem(self) -> str | None:
        """Why the inbox cannot be used now; None if it can."""
        return self._problem

    async def prepare(self, timeout: float = _START_TIMEOUT) -> None:
        """Create what is missing in the inbox's database; `run` does it too.

        Waits for a database that is away, at most `timeout` seconds, then Unavailable.
        """
        if self._is_prepared:
            return
        preparations = [each for one in self._participants for each in one.preparations]
        if self._log.prepare and any(isinstance(one, Choreography) for one in self._participants):
            preparations.insert(0, self._log.prepare)
        until = asyncio.get_running_loop().time() + timeout
        for pause in pauses():
            try:
                await self._inbox.prepare(preparations)
            except Unavailable as error:
                self._report_inbox(str(error))
                if asyncio.get_running_loop().time() + pause > until:
                    raise
                await asyncio.sleep(pause)
            else:
                self._is_prepared = True
                self._report_inbox(None)
                return

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; then finish, answer and acknowledge what has begun.

        Waits for a database that is away, and for the broker.
        """
        await _unless_stopping(stopping, self.prepare(math.inf))
        if isinstance(self._inbox, MemoryInbox):
            self._observe(_memory_warning(self._participants))
        if stopping.is_set():
            return
        services = [await self._opened(each, stopping) for each in self._participants]
        self.began.set()
        async with asyncio.TaskGroup() as group:
            upkeep = [group.create_task(self._watch()), group.create_task(self._purge())]
            async with asyncio.TaskGroup() as working:
                for service in services:
                    working.create_task(service.run())
            for each in upkeep:
                each.cancel()

    async def _opened(
        self, hosted: Hosted, stopping: asyncio.Event
    ) -> Service | ChoreographyService:
        if isinstance(hosted, Choreography):
            return await ChoreographyService.open(hosted, self._hall, stopping)
        return await Service.open(hosted, self._surroundings, stopping)

    def _report_inbox(self, problem: str | None) -> None:
        was_up, self._was_up = self._was_up, problem is None
        self._problem = problem
        if was_up != self._was_up and not isinstance(self._inbox, MemoryInbox):
            self._observe(
                ConnectionChanged(peer="database", up=problem is None, detail=problem or "")
            )

    async def _watch(self) -> None:
        """Know that the database is away, or back, even when no command comes."""
        while True:
            await asyncio.sleep(_WATCH_EVERY)
            try:
                await self._inbox.ping()
            except Unavailable as error:
                self._report_inbox(str(error))
            else:
                self._report_inbox(None)

    async def _purge(self) -> None:
        """Forget old entries, now and every hour."""
        while True:
            with suppress(Unavailable):  # `_watch` reports it
                forgotten = await self._inbox.purge(RETENTION)
                if any(isinstance(one, Choreography) for one in self._participants):
                    forgotten += await self._log.purge(RETENTION)
                details = {"entries": forgotten}
                self._observe(Noticed(level="debug", message="old entries purged", details=details))
            await asyncio.sleep(_PURGE_EVERY)


async def _unless_stopping(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, but no longer than until `stopping` is set."""
    working = asyncio.ensure_future(work)
    asked_to_stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({working, asked_to_stop}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        asked_to_stop.cancel()
        working.cancel()
        await asyncio.wait({working, asked_to_stop})


def inbox_for(url: str | None, *, connections: int = 10) -> Inbox:
    """The inbox by its URL; in memory without one. SQL is loaded only here."""
    if url is None:
        return MemoryInbox()
    from participants.sql_inbox import SqlInbox  # noqa: PLC0415  # participants load no SQL

    return SqlInbox(url, connections=connections)


def event_log_for(inbox: Inbox, names: Names) -> EventLog:
    """The log of events in the inbox's database."""
    if isinstance(inbox, MemoryInbox):
        return MemoryEventLog()
    from participants.choreography.sql_log import SqlEventLog  # noqa: PLC0415  # loads SQL
    from participants.sql_inbox import SqlInbox  # noqa: PLC0415

    return SqlEventLog(inbox, names) if isinstance(inbox, SqlInbox) else MemoryEventLog()


def refuse_duplicates(participants: Sequence[Hosted]) -> None:
    """ConfigurationError if two have one name, which is one queue, or if there are none."""
    if not participants:
        raise ConfigurationError("there is no participant to run")
    for kind in (Participant, Choreography):
        names = [each.name for each in participants if isinstance(each, kind)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationError(
                f"participants of the same name: {', '.join(twice)}; each has a queue of its own"
            )


def _memory_warning(participants: Sequence[Hosted]) -> Noticed:
    return Noticed(
        level="warning",
        message="the inbox is in memory: a restart forgets which commands have been executed,"
        " and effects may then happen twice. For trials only; set SAGA_INBOX_URL",
        details={"participants": ", ".join(each.name for each in participants)},
    )
