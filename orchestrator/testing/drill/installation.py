"""The programs of a drilled run: each can crash and is started again, in a virtual time."""

import asyncio
import contextvars
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from messaging.contract import Command, Direction
from messaging.errors import DefinitionError
from messaging.port import Outgoing
from orchestrator.testing.drill.books import Books
from orchestrator.testing.drill.definition import Change, Drill
from orchestrator.testing.drill.injection import ORCHESTRATOR, Injection
from orchestrator.testing.drill.matrix import DrilledRegistry
from orchestrator.testing.drill.ports import DrilledBroker, is_orchestrator
from orchestrator.testing.drill.services import Unguarded, watched
from orchestrator.testing.drill.workshop import Workshop
from orchestrator.testing.programs import Idleness, Programs
from participants.context import Context
from participants.inbox import Key
from participants.participant import Participant


@dataclass(slots=True, kw_only=True)
class _Program:
    broker: DrilledBroker
    task: asyncio.Task[None]


class DrilledPrograms(Programs):
    """One installation under one injection, in a workshop. `equip` it before it is opened."""

    injection: Injection
    books: Books
    drill: Drill

    def __init__(self, workshop: Workshop) -> None:
        super().__init__(workshop.time, registry=DrilledRegistry())
        self._workshop = workshop
        self._running: dict[str, _Program] = {}
        self._restarts: set[asyncio.Task[None]] = set()
        self._services: dict[str, Participant] = {}
        self._wrong_ledger: DefinitionError | None = None
        self._worked: dict[Key, Direction] = {}  # handlers that are through, to be committed

    def equip(self, drill: Drill, injection: Injection, books: Books) -> None:
        self.drill, self.injection, self.books = drill, injection, books

    async def fill(self, services: Sequence[Participant]) -> None:
        """The services' database, as it is before the first saga."""
        await self._workshop.fill(self.drill, services)

    async def change(self, change: Change) -> None:
        """Change something in the services' database."""
        asking = self.drill.asking("obstacle")
        async with asking, self.inbox.engine.begin() as connection:
            await change(connection)

    async def crash(self, program: str) -> None:
        """From within that program: it is gone with all it has in hand. Never returns."""
        restart = contextvars.Context().run(asyncio.create_task, self._restart(program))
        self._restarts.add(restart)
        await asyncio.get_running_loop().create_future()

    async def post(self, messages: Sequence[Outgoing]) -> None:
        """Publish what was held back, past the injection."""
        broker = self.broker
        assert isinstance(broker, DrilledBroker)  # noqa: S101  # `_broker` has made it
        await broker.post(messages)

    async def idleness(self) -> Idleness | None:
        if self._wrong_ledger is not None:
            raise self._wrong_ledger
        for restart in [each for each in self._restarts if each.done()]:
            self._restarts.remove(restart)
            restart.result()
        return None if self._restarts else await super().idleness()

    async def employ(self, *participants: Participant) -> None:
        """Each in a program of its own."""
        self.declare([each.name for each in participants])
        for each in participants:
            self._services[each.name] = watched(each, self._watch)
            await self._begin_service(each.name)
        self.raise_failures()

    async def close(self) -> None:
        await asyncio.gather(*self._restarts, return_exceptions=True)
        await super().close()

    # --- programs ------------------------------------------------------------------------

    async def _begin_orchestrator(self) -> None:
        broker = await self._connected(ORCHESTRATOR)
        self._begin(
            ORCHESTRATOR, broker, _as_orchestrator(self._worker(broker).run(self._stopping))
        )

    async def _begin_service(self, name: str) -> None:
        broker = await self._connected(name)
        if self.drill.is_guarded:
            runner = self._runner(broker, self._services[name])
            self._begin(name, broker, runner.run(self._stopping))
            began = runner.began
        else:
            began = asyncio.Event()
            service = Unguarded(self._services[name], broker, self.inbox.engine, self._commit_one)
            self._begin(name, broker, service.run(began))
        waiting = asyncio.ensure_future(began.wait())
        done = {self._running[name].task, waiting}
        await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def _begin(self, name: str, broker: DrilledBroker, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._running[name] = _Program(broker=broker, task=task)
        is_unguarded = name != ORCHESTRATOR and not self.drill.is_guarded
        (self._cancelled if is_unguarded else self._drained).append(task)

    async def _restart(self, name: str) -> None:
        gone = self._running.pop(name)
        gone.broker.connection_lost()
        for tasks in (self._drained, self._cancelled):
            if gone.task in tasks:
                tasks.remove(gone.task)
        gone.task.cancel()
        await asyncio.wait([gone.task])
        await gone.broker.close()
        if name == ORCHESTRATOR:
            self.has_lost_senders = True
            await self._begin_orchestrator()
        else:
            await self._begin_service(name)

    async def _connected(self, name: str) -> DrilledBroker:
        broker = self._broker(name)
        await self._resources.enter_async_context(broker)
        return broker

    # --- ports ---------------------------------------------------------------------------

    async def _open_databases(self) -> None:
        await self._workshop.clear()
        self.store, self.inbox = self._workshop.store, self._workshop.inbox
        self._workshop.store.injection = self.injection
        self._workshop.inbox.committed = self._commit

    def _broker(self, app_id: str) -> DrilledBroker:
        return DrilledBroker(self.server, app_id, self.injection)

    # --- what is done --------------------------------------------------------------------

    async def _watch(self, context: Context, call: Any) -> object:
        key = Key(context.saga_id, context.step_name)
        self._worked.pop(key, None)
        returned = await self.injection.handle(context, call)
        self._worked[key] = context.direction
        return returned

    async def _commit(self, keys: Collection[Key]) -> None:
        for key in keys:
            direction = self._worked.pop(key, None)
            if direction is not None:
                self.books.commit(key.step_name, direction)
        try:
            await self.books.look(self.inbox.engine)
        except DefinitionError as error:  # a service must not hear of it
            self._wrong_ledger = error

    async def _commit_one(self, command: Command) -> None:
        await self._commit([Key(command.saga_id, command.step_name)])


async def _as_orchestrator(work: Coroutine[Any, Any, None]) -> None:
    is_orchestrator.set(True)
    await work
