"""What a soak runs on: its own servers, steady daemons behind wires, and mortal ones beside."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from servers.postgres import PrivatePostgres
from servers.rabbit import PrivateRabbit

from tests.chaos.faults import FaultLog
from tests.chaos.wires import Wire, WireRoom
from tests.product.installation import Daemon, Installation, Place, installed
from tests.product.places import new_place

STEADY = "steady"
MORTAL = "mortal"


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, work: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that a fault can befall."""

    rabbit: PrivateRabbit
    postgres: PrivatePostgres
    place: Place
    """Where the servers are, past the wires."""
    installation: Installation
    broker_wire: Wire
    database_wire: Wire

    @property
    def steady(self) -> list[Daemon]:
        """Those that live from the beginning to the end."""
        return [each for each in self.installation.daemons if each.name.endswith(STEADY)]

    @property
    def mortal(self) -> list[Daemon]:
        return [each for each in self.installation.daemons if each.name.endswith(MORTAL)]

    def mortal_of(self, program: str) -> Daemon:
        return self.installation.daemon(f"{program}-{MORTAL}")

    def heal(self) -> None:
        """Everything that may have been left frozen, cut or stopped runs again."""
        for server in (self.rabbit, self.postgres):
            server.resume()
            server.start()
        for wire in (self.broker_wire, self.database_wire):
            wire.heal()
        for daemon in self.installation.daemons:
            if not daemon.is_running:
                daemon.start()


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """Servers and daemons; the daemons do not run yet."""
    with ExitStack() as stack:
        rabbit = stack.enter_context(PrivateRabbit())
        postgres = stack.enter_context(PrivatePostgres())
        place = new_place(rabbit.url, postgres.url)
        room, told = WireRoom(), FaultLog()
        stack.callback(room.close)
        broker_wire = Wire(room, "broker", rabbit.url, told)
        stack.callback(broker_wire.close)
        database_wire = Wire(room, "database", postgres.url, told)
        stack.callback(database_wire.close)
        installation = stack.enter_context(installed(place, folder))
        employ(installation, MORTAL, place)
        employ(installation, STEADY, _behind(place, broker_wire, database_wire))
        yield Site(
            rabbit=rabbit,
            postgres=postgres,
            place=place,
            installation=installation,
            broker_wire=broker_wire,
            database_wire=database_wire,
        )


def _behind(place: Place, broker: Wire, database: Wire) -> Place:
    return replace(
        place,
        amqp_url=broker.url(place.amqp_url),
        saga_database=database.url(place.saga_database),
        shop_database=database.url(place.shop_database),
    )


def employ(installation: Installation, fate: str, place: Place) -> None:
    """One of each program."""
    settings = place.settings
    name = f"orchestrator-{fate}"
    # With few at a time in hand, the steady one, which is served first, leaves some to the other.
    installation.orchestrator("trial_orders", name=name, SAGA_PREFETCH="10", **settings)
    installation.participants(name=f"participants-{fate}", **settings)
    installation.dlq_worker(name=f"dlq-worker-{fate}", SAGA_REPLAY_BASE="1s", **settings)
