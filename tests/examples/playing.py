"""Plays an example on real servers, with its programs as processes, and looks into its books."""

import asyncio
import signal
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import aio_pika
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from messaging.topology import Names
from orchestrator import SagaClient
from orchestrator.store.views import SagaView
from participants import Choreography, Participant
from participants.examples.accounting import Books
from participants.sql_engine import engine_for
from tests.product import audit
from tests.product.installation import Installation, Place, installed
from tests.product.places import drop_database, new_place, remove_topology

SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One saga to start. `error` is a part of what the failed saga has to say."""

    saga_id: str
    kind: str
    data: Mapping[str, Any]
    fails_at: str | None = None  # None: it completes
    error: str = ""

    @property
    def ends(self) -> str:
        return f"failed at {self.fails_at}" if self.fails_at else "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What somebody needs who does something while the sagas run."""

    installation: Installation
    client: SagaClient
    cases: Sequence[Case]

    @property
    def place(self) -> Place:
        return self.installation.place

    def restart(self) -> None:
        """Stop all programs, as for a deploy, and start them again; blocks until they are ready."""
        for daemon in self.installation.daemons:
            daemon.send(signal.SIGTERM)
        for daemon in self.installation.daemons:
            daemon.ended()
        self.installation.start()


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An example: its modules, its sagas, and its books."""

    name: str
    saga_type: str
    module: str
    cases: Sequence[Case]
    create_missing: Callable[[AsyncConnection], Awaitable[None]]
    fill: Callable[[AsyncConnection], Awaitable[None]]
    balance: Callable[[AsyncEngine, Collection[str]], Awaitable[Books]]
    people: Callable[[Scene], Awaitable[None]] | None = None
    choreograph: Callable[["Example", Installation], Awaitable["Played"]] | None = None

    def queues_of_services(self, names: Names) -> Sequence[str]:
        found = list(vars(import_module(f"participants.examples.{self.module}")).values())
        commands = [names.commands_for(one.name) for one in found if isinstance(one, Participant)]
        listeners = [one.name for one in found if isinstance(one, Choreography)]
        return [*commands, *map(names.choreography_of, listeners), names.event_log]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How the sagas ended, and what the books say."""

    example: Example
    sagas: Mapping[str, SagaView]
    books: Books
    dead_letters: int

    @property
    def problems(self) -> Sequence[str]:
        letters = [f"{self.dead_letters} dead letters"] if self.dead_letters else []
        return [*self._otherwise(), *letters, *self.books.problems]

    def ended(self, case: Case) -> str:
        view = self.sagas[case.saga_id]
        failure = view.first_failure
        return f"{view.state} at {failure.step}" if failure else view.state

    def undone(self, saga_id: str) -> Sequence[str]:
        """The steps that were compensated, in that order."""
        moves = [each for each in self.sagas[saga_id].history if each.after == "compensated"]
        return [each.step for each in moves if each.step]

    def _otherwise(self) -> Iterator[str]:
        for case in self.example.cases:
            failure = self.sagas[case.saga_id].first_failure
            told = failure.error if failure else ""
            if self.ended(case) != case.ends or case.error not in told:
                wanted = f"{case.ends} {case.error}".strip()
                yield f"{case.saga_id} is {self.ended(case)} {told!r}, not {wanted!r}"


@contextmanager
def place_for(example: Example, amqp_url: str, postgres_url: str) -> Iterator[Place]:
    """Two databases and a namespace for one run, removed afterwards."""
    place = new_place(amqp_url, postgres_url)
    try:
        yield place
    finally:
        for url in (place.saga_database, place.shop_database):
            drop_database(postgres_url, url)
        asyncio.run(_remove_topology(example, place))


def play(example: Example, place: Place, folder: Path) -> Played:
    """Run the programs, start every saga, and wait until all have ended."""
    with installed(place, folder) as installation:
        if example.choreograph:
            installation.recorder()
        else:
            installation.orchestrator(f"orchestrator.examples.{example.module}")
        installation.service(f"participants.examples.{example.module}")
        asyncio.run(_fill(example, place))
        installation.start()
        perform = example.choreograph or _played
        return asyncio.run(perform(example, installation))


async def _fill(example: Example, place: Place) -> None:
    async with books_of(place) as engine, engine.begin() as connection:
        await example.create_missing(connection)
        await example.fill(connection)


async def _played(example: Example, installation: Installation) -> Played:
    place = installation.place
    async with SagaClient(place.saga_database) as client, books_of(place) as engine:
        for case in example.cases:
            await client.start(example.saga_type, case.data, saga_id=case.saga_id)
        if example.people:
            scene = Scene(installation=installation, client=client, cases=example.cases)
            await example.people(scene)
        for case in example.cases:
            await client.wait(case.saga_id, timeout=SECONDS)
        views = [await client.show(case.saga_id) for case in example.cases]
        sagas = {view.saga_id: view for view in views if view}
        completed = {name for name, view in sagas.items() if view.state == "completed"}
        return Played(
            example=example,
            sagas=sagas,
            books=await example.balance(engine, completed),
            dead_letters=await audit.messages_in(place, place.names.dead_letters),
        )


@asynccontextmanager
async def books_of(place: Place) -> AsyncIterator[AsyncEngine]:
    """The database of the services."""
    engine = engine_for(place.shop_database, 2)
    try:
        yield engine
    finally:
        await engine.dispose()


async def _remove_topology(example: Example, place: Place) -> None:
    await remove_topology(place)
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in example.queues_of_services(place.names):
            await channel.queue_delete(queue)
