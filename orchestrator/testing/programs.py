"""Orchestrator and participants at work in this process: embedded broker, SQLite, real programs."""

import asyncio
from collections.abc import Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import sqlalchemy as sa

from chassis.facts import Fact
from chassis.settings import OrchestratorSettings
from messaging.memory import MemoryBroker, MemoryServer
from messaging.topology import Names, TopologyMode, installation
from orchestrator.registry import Registry
from orchestrator.store.sqlite import SqliteStore
from orchestrator.store.tables import sagas
from orchestrator.testing.virtual_time import VirtualTime
from orchestrator.worker.service import Worker
from participants.participant import Participant
from participants.runner import Runner
from participants.sql_inbox import SqlInbox

NAMES: Final = Names("saga")
_DRAIN: Final = 10.0  # seconds

_schemas: dict[str, bytes] = {}  # an empty database at the newest revision, made once


@dataclass(frozen=True, slots=True, kw_only=True)
class Idleness:
    """No program has anything in hand. `until`: when a timer ends that; None: nothing does."""

    until: datetime | None


@dataclass(slots=True)
class Programs:
    """One installation, empty at first. Open it with `open`, end it with `close`."""

    time: VirtualTime
    server: MemoryServer = field(default_factory=MemoryServer)
    registry: Registry = field(default_factory=Registry)
    facts: list[Fact] = field(default_factory=list)
    has_lost_senders: bool = False  # what a timer was about to send may have nobody who sends it
    inbox: SqlInbox = field(init=False)
    store: SqliteStore = field(init=False)
    broker: MemoryBroker = field(init=False)  # of customers and participants
    _resources: AsyncExitStack = field(default_factory=AsyncExitStack)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _drained: list[asyncio.Task[None]] = field(default_factory=list)
    _cancelled: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self) -> Self:
        """The orchestrator is at work. Without participants yet."""
        await self._open_databases()
        self.broker = await self._resources.enter_async_context(self._broker("kit"))
        await self._begin_orchestrator()
        return self

    async def close(self) -> None:
        """Drain, and remove every trace. Raises what has brought a program down."""
        self._stopping.set()
        for task in self._cancelled:
            task.cancel()
        ended = await asyncio.gather(*self._cancelled, return_exceptions=True)
        try:
            async with asyncio.timeout(_DRAIN):
                ended += await asyncio.gather(*self._drained, return_exceptions=True)
        finally:
            await self._resources.aclose()
        for each in ended:
            if isinstance(each, Exception):
                raise each

    def declare(self, participants: Collection[str]) -> None:
        """Their queues are there from now on."""
        self.server.declare(installation(NAMES, participants))

    async def employ(self, *participants: Participant) -> None:
        """Run an author's participants, with the guard in SQLite, until `close`."""
        self.declare([each.name for each in participants])
        broker = await self._resources.enter_async_context(self._broker("participants"))
        runner = self._runner(broker, *participants)
        name = f"participants {', '.join(each.name for each in participants)}"
        task = asyncio.create_task(runner.run(self._stopping), name=name)
        self._drained.append(task)
        began = asyncio.ensure_future(runner.began.wait())
        await asyncio.wait({task, began}, return_when=asyncio.FIRST_COMPLETED)
        began.cancel()
        self.raise_failures()

    def attend(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run this until `close`, which cancels it."""
        self._cancelled.append(asyncio.create_task(work, name=name))

    def raise_failures(self) -> None:
        """Raise what has brought a program down, if any is down."""
        for tasks in (self._drained, self._cancelled):
            for task in [each for each in tasks if each.done()]:
                tasks.remove(task)  # it is raised once
                task.result()

    async def idleness(self) -> Idleness | None:
        """Whether nothing is in hand anywhere, and until when; None while something is."""
        if self._is_busy():
            return None
        query = sa.select(sagas.c.wake_at, sagas.c.resend_at).where(sagas.c.wake_at.is_not(None))
        async with self.store.reading() as connection:
            waits = (await connection.execute(query)).all()
        is_sending = any(resend_at is not None for _, resend_at in waits)
        moments = [wake_at for wake_at, _ in waits]
        is_being_sent = is_sending and not self.has_lost_senders
        if self._is_busy() or is_being_sent or any(each <= self.time.now() for each in moments):
            return None
        if self.time.next_waking is not None:
            moments.append(self.time.next_waking)
        return Idleness(until=min(moments, default=None))

    async def wake(self) -> None:
        """Have the orchestrator's clock look at once."""
        async with self.store.transaction() as transaction:
            await transaction.notify()

    async def _open_databases(self) -> None:
        folder = Path(self._resources.enter_context(TemporaryDirectory(prefix="saga-kit-")))
        (folder / "sagas.db").write_bytes(await empty_database())
        url = f"sqlite:///{folder / 'sagas.db'}"
        self.store = SqliteStore(url, clock=self.time.now, is_durable=False)
        self._resources.push_async_callback(self.store.close)
        self.inbox = SqlInbox(f"sqlite:///{folder / 'inbox.db'}")
        self._resources.push_async_callback(self.inbox.close)

    async def _begin_orchestrator(self) -> None:
        own = await self._resources.enter_async_context(self._broker("orchestrator"))
        worker = self._worker(own)
        self._drained.append(asyncio.create_task(worker.run(self._stopping), name="orchestrator"))

    def _worker(self, broker: MemoryBroker) -> Worker:
        settings = OrchestratorSettings.model_construct()  # whatever the environment says
        return Worker(
            broker,
            self.store,
            self.registry,
            settings,
            self.facts.append,
            began=self.time.now(),
            quiet=timedelta(0),
        )

    def _runner(self, broker: MemoryBroker, *participants: Participant) -> Runner:
        return Runner(
            *participants,
            broker=broker,
            inbox=self.inbox,
            names=NAMES,
            observe=self.facts.append,
            pauses=lambda *_, **__: 0.0,
        )

    def _is_busy(self) -> bool:
        commands = f"{NAMES.commands}."
        in_hand = -self.time.sleepers
        for name, queue in self.server.queues.items():
            if name.startswith(commands) or name in {NAMES.starts, NAMES.replies}:
                in_hand += queue.depth + queue.unsettled
        return in_hand != 0

    def _broker(self, app_id: str) -> MemoryBroker:
        return MemoryBroker(
            self.server,
            names=NAMES,
            topology=installation(NAMES, ()),
            mode=TopologyMode.DECLARE,
            app_id=app_id,
            user_id=app_id,
        )


async def empty_database() -> bytes:
    """The bytes of an empty database; later ones are copies of the first."""
    if "sagas" not in _schemas:
        with TemporaryDirectory(prefix="saga-kit-") as folder:
            path = Path(folder) / "sagas.db"
            store = SqliteStore(f"sqlite:///{path}", is_durable=False)
            await store.upgrade()
            await store.close()
            _schemas["sagas"] = path.read_bytes()
    return _schemas["sagas"]
