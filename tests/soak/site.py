"""What a soak runs on: its own servers, steady daemons behind proxies, and mortal ones beside."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from servers.postgres import PrivatePostgres
from servers.rabbit import PrivateRabbit

from tests.faults.proxy import FaultProxy
from tests.product.installation import Daemon, Installation, Place, installed
from tests.product.places import new_place

STEADY = "steady"
MORTAL = "mortal"


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, work: Any) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Any) -> Any:
        return self.start(work).result()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A proxy on the way from the steady daemons to one server. Its methods may block."""

    name: str
    server_port: int
    proxy: FaultProxy
    background: Background

    @property
    def ports(self) -> frozenset[int]:
        """Where clients of the server connect to, steady ones and others."""
        return frozenset({self.server_port, self.proxy.port})

    def cut(self) -> None:
        self.background.loop.call_soon_threadsafe(self.proxy.cut)

    def freeze(self) -> None:
        self.background.loop.call_soon_threadsafe(self.proxy.freeze)

    def slow_down(self, seconds: float) -> None:
        self.proxy.latency = seconds

    def refuse(self) -> None:
        self.background.call(self.proxy.refuse())

    def heal(self) -> None:
        self.proxy.latency = 0.0
        self.background.loop.call_soon_threadsafe(self.proxy.thaw)
        self.background.call(self.proxy.accept())


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything that a fault can befall."""

    rabbit: PrivateRabbit
    postgres: PrivatePostgres
    installation: Installation
    broker_link: Link
    database_link: Link

    @property
    def place(self) -> Place:
        """Where the servers are, without any proxy between."""
        return self.installation.place

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
        for link in (self.broker_link, self.database_link):
            link.heal()
        self.installation.start()


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """Servers and daemons; the daemons do not run yet."""
    with ExitStack() as stack:
        rabbit = stack.enter_context(PrivateRabbit())
        postgres = stack.enter_context(PrivatePostgres())
        place = new_place(rabbit.url, postgres.url)
        background = Background()
        stack.callback(background.close)
        broker_link = _link(stack, background, "broker", rabbit.url)
        database_link = _link(stack, background, "database", postgres.url)
        installation = stack.enter_context(installed(place, folder))
        _employ(installation, MORTAL, place)
        _employ(installation, STEADY, _behind(place, broker_link.proxy, database_link.proxy))
        yield Site(
            rabbit=rabbit,
            postgres=postgres,
            installation=installation,
            broker_link=broker_link,
            database_link=database_link,
        )


def _link(stack: ExitStack, background: Background, name: str, url: str) -> Link:
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    proxy = FaultProxy(address.hostname, address.port)
    background.call(proxy.__aenter__())
    stack.callback(lambda: background.call(proxy.__aexit__(None, None, None)))
    return Link(name=name, server_port=address.port, proxy=proxy, background=background)


def _behind(place: Place, broker: FaultProxy, database: FaultProxy) -> Place:
    return replace(
        place,
        amqp_url=broker.url(place.amqp_url),
        saga_database=database.url(place.saga_database),
        shop_database=database.url(place.shop_database),
    )


def _employ(installation: Installation, fate: str, place: Place) -> None:
    """One of each program."""
    settings = place.settings
    installation.orchestrator("trial_orders", name=f"orchestrator-{fate}", **settings)
    installation.participants(name=f"participants-{fate}", **settings)
    installation.dlq_worker(name=f"dlq-worker-{fate}", SAGA_REPLAY_BASE="1s", **settings)
