"""What a scenario plays with: servers, wires, daemons and customers of its own."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.faults import FaultLog
from tests.chaos.load import Load
from tests.chaos.pool import ServerPool
from tests.chaos.scenario import Needs, Scenario
from tests.chaos.wires import Wire
from tests.product import audit
from tests.product.customers import post_nonsense
from tests.product.installation import Daemon, Installation, Place, installed, wait_for
from tests.product.listeners import listen
from tests.product.places import create_database, drop_database, new_place, remove_topology

MANY = 100_000  # more orders than any scenario asks for
NONSENSE = ("nonsense-0", "nonsense-1", "nonsense-2")  # messages that only a person can judge


@dataclass(slots=True, kw_only=True)
class World:
    """Everything of one scenario. `place` leads past the wires, `installation` over them."""

    scenario: Scenario
    chance: Random
    folder: Path
    sagas: int  # at least
    rabbit: Any  # PrivateRabbit, or what Needs.rabbit has made
    postgres: Any  # PrivatePostgres, or what Needs.postgres has made
    place: Place
    installation: Installation
    broker_wire: Wire
    database_wire: Wire
    faults: FaultLog
    load: Load

    @property
    def needs(self) -> Needs:
        return self.scenario.needs

    @property
    def orchestrators(self) -> list[Daemon]:
        return self._daemons("orchestrator")

    @property
    def participants(self) -> list[Daemon]:
        return self._daemons("participants")

    @property
    def dlq_worker(self) -> Daemon:
        return self.installation.daemon("dlq-worker")

    def under_load(
        self, *, at_once: int | None = None, per_second: float = 3.0
    ) -> AbstractContextManager[None]:
        """Sagas are started all the time, as long as this lasts: a fifth of all at once first."""
        first = self.sagas // 5 if at_once is None else at_once
        return self.load.running(at_once=first, per_second=per_second)

    def play(self, what: str, act: Callable[[], object] = lambda: None) -> None:
        """One fault: counted, told with its time, and done."""
        self.faults.played(what)
        act()

    def mend(self, what: str, act: Callable[[], object] = lambda: None) -> None:
        """The end of a fault: told with its time, and done."""
        self.faults.told(what)
        act()

    def last(self, seconds: float) -> None:
        """Let a fault last."""
        time.sleep(seconds)

    def reach_any_moment(self, most: int = 40) -> None:
        """Until the sagas have come some way, or for some seconds if they do not move."""
        goal = audit.transitions(self.place) + self.chance.randint(1, most)
        with suppress(AssertionError):
            wait_for(lambda: audit.transitions(self.place) >= goal, "they move", seconds=5)

    def wait_for(self, is_so: Callable[[], bool], fact: str, *, seconds: float = 60.0) -> None:
        wait_for(is_so, fact, seconds=seconds)

    def kill(self, daemon: Daemon) -> None:
        """SIGKILL, and started again at once."""
        self.play(f"kill -9 {daemon.name}", daemon.kill_and_restart)

    def heal(self) -> None:
        """Wires and servers as they should be. Daemons have to recover by themselves."""
        for server in (self.rabbit, self.postgres):
            server.resume()
            server.start()
        for wire in (self.broker_wire, self.database_wire):
            wire.heal()

    def _daemons(self, kind: str) -> list[Daemon]:
        return [each for each in self.installation.daemons if each.name.startswith(kind)]


@contextmanager
def world_of(
    scenario: Scenario, pool: ServerPool, *, seed: int, sagas: int, folder: Path
) -> Iterator[World]:
    """A world whose daemons are ready, and which is taken down afterwards."""
    needs, chance, faults = scenario.needs, Random(f"{scenario.name} {seed}"), FaultLog()
    with ExitStack() as stack:
        rabbit = pool.rabbit_for(needs, stack)
        postgres = stack.enter_context(needs.postgres()) if needs.postgres else pool.postgres()
        place = new_place(rabbit.url, postgres.url)
        stack.callback(_remove, place, postgres.url)
        if needs.shop_apart:
            place = _with_shop_at(pool.postgres().url, place, stack)
        broker = Wire(pool.room, "broker wire", rabbit.url, faults)
        stack.callback(broker.close)
        database = Wire(pool.room, "database wire", postgres.url, faults)
        stack.callback(database.close)
        wired = _wired(place, broker, database, shop_apart=needs.shop_apart)
        installation = stack.enter_context(installed(wired, folder))
        (needs.build or _usual(needs))(installation)
        world = World(
            scenario=scenario,
            chance=chance,
            folder=folder,
            sagas=sagas,
            rabbit=rabbit,
            postgres=postgres,
            place=place,
            installation=installation,
            broker_wire=broker,
            database_wire=database,
            faults=faults,
            load=Load(place, needs.orders(MANY, chance)),
        )
        installation.start()
        asyncio.run(listen(place))
        asyncio.run(post_nonsense(place, NONSENSE))
        faults.begin()
        yield world


def _usual(needs: Needs) -> Callable[[Installation], None]:
    def build(installation: Installation) -> None:
        for number in range(1, needs.orchestrators + 1):
            installation.orchestrator(
                needs.definitions, name=f"orchestrator-{number}", **needs.settings
            )
        for number in range(1, needs.participants + 1):
            installation.participants(name=f"participants-{number}", **needs.settings)
        installation.dlq_worker(**{"SAGA_REPLAY_BASE": "1s", **needs.settings})

    return build


def _with_shop_at(postgres_url: str, place: Place, stack: ExitStack) -> Place:
    """What befalls the sagas' server does not befall the participants'."""
    shop = create_database(postgres_url, f"{place.namespace.replace('-', '_')}_shop_apart")
    stack.callback(drop_database, postgres_url, shop)
    return replace(place, shop_database=shop)


def _wired(place: Place, broker: Wire, database: Wire, *, shop_apart: bool) -> Place:
    shop = place.shop_database
    return replace(
        place,
        amqp_url=broker.url(place.amqp_url),
        saga_database=database.url(place.saga_database),
        shop_database=shop if shop_apart else database.url(shop),
    )


def _remove(place: Place, postgres_url: str) -> None:
    """Best effort: a server of the scenario's own goes as a whole."""
    with suppress(Exception):
        asyncio.run(remove_topology(place))
    for url in (place.saga_database, place.shop_database):
        with suppress(Exception):
            drop_database(postgres_url, url)
