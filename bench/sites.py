"""Where a run takes place: names on the broker and databases of its own, removed afterwards."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aio_pika
from servers.finding import POSTGRES, RABBITMQ, find

from bench.processes import listener_on
from bench.sagas import PARTICIPANTS
from messaging.rabbit_topology import declare, probe
from messaging.topology import Names, installation
from orchestrator.store.stores import store_for
from tests.product.places import create_database, drop_database


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """A broker and a database server, and their processes where they can be seen."""

    amqp_url: str
    postgres_url: str
    rabbit_pid: int | None
    postgres_pid: int | None

    @property
    def families(self) -> dict[str, list[int]]:
        found = {"broker": self.rabbit_pid, "postgres": self.postgres_pid}
        return {name: [pid] for name, pid in found.items() if pid is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The surroundings of one run."""

    servers: Servers
    names: Names
    saga_database: str
    inbox_database: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            "SAGA_AMQP_URL": self.servers.amqp_url,
            "SAGA_DATABASE_URL": self.saga_database,
            "SAGA_INBOX_URL": self.inbox_database,
            "SAGA_NAMESPACE": self.names.namespace,
            "SAGA_LOG_FORMAT": "json",  # as it is where nobody watches a terminal
        }


@contextmanager
def found_servers() -> Iterator[Servers]:
    """Given by SAGA_TEST_AMQP_URL and SAGA_TEST_DATABASE_URL, or started for this run."""
    with ExitStack() as stack:
        rabbit = stack.enter_context(find(RABBITMQ))
        print(f"RabbitMQ {rabbit.description}", flush=True)
        postgres = stack.enter_context(find(POSTGRES))
        print(f"PostgreSQL {postgres.description}", flush=True)
        yield Servers(
            amqp_url=rabbit.url,
            postgres_url=postgres.url,
            rabbit_pid=_listener(rabbit.url, 5672),
            postgres_pid=_listener(postgres.url, 5432),
        )


@contextmanager
def new_site(servers: Servers, saga_database: str | None = None) -> Iterator[Site]:
    """Everything of its own: exchanges, queues, two databases, the first with our schema.

    A `saga_database` that is given is used instead of the first, and stays.
    """
    name = f"bench_{uuid.uuid4().hex[:8]}"
    site = Site(
        servers=servers,
        names=Names(name.replace("_", "-")),
        saga_database=saga_database or create_database(servers.postgres_url, f"{name}_sagas"),
        inbox_database=create_database(servers.postgres_url, f"{name}_inbox"),
    )
    try:
        asyncio.run(_prepare(site))
        yield site
    finally:
        for url in {site.saga_database, site.inbox_database} - {saga_database}:
            drop_database(servers.postgres_url, url)
        asyncio.run(_remove(site))


async def broker_version(url: str) -> str:
    facts = await probe(url)
    return f"{facts.product} {facts.version}"


async def _prepare(site: Site) -> None:
    store = store_for(site.saga_database)
    await store.upgrade()
    await store.close()
    await declare(site.servers.amqp_url, installation(site.names, PARTICIPANTS))


async def _remove(site: Site) -> None:
    names = site.names
    commands = [names.commands_for(each) for each in PARTICIPANTS]
    async with await aio_pika.connect(site.servers.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in (names.starts, names.replies, names.dead_letters, *commands):
            await channel.queue_delete(queue)
        for exchange in names.exchanges():
            await channel.exchange_delete(exchange.name)


def _listener(url: str, usual_port: int) -> int | None:
    address = urlsplit(url)
    if address.hostname not in {"127.0.0.1", "localhost", "::1"}:
        return None
    return listener_on(address.port or usual_port)
