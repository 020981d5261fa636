"""How an installation stands when its story fails: what daemons, broker and databases say."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import aio_pika
import psycopg

from messaging.topology import Names

if TYPE_CHECKING:
    from tests.product.installation import Daemon, Place

_STACKS_SECONDS: Final = 5.0
_END_OF_STACKS: Final = "end of stacks"
_ACTIVITY: Final = """
    SELECT pid, application_name, state, wait_event_type, wait_event, pg_blocking_pids(pid),
           date_trunc('second', now() - state_change)::text, left(query, 100)
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_OF_SAGAS: Final = {
    "sagas": "SELECT state, count(*) FROM sagas GROUP BY 1",
    "choreographies": """
        SELECT state, last_event, count(*), date_trunc('second', now() - max(last_event_at))::text
        FROM choreographies GROUP BY 1, 2
    """,
    "dead letters": """
        SELECT queue, reason, status, count(*), max(left(error, 200))
        FROM dead_letters GROUP BY 1, 2, 3
    """,
}
_OF_SHOP: Final = {
    "the services' log, and what they owe": """
        SELECT service, event, state, count(*), count(owed_at),
               date_trunc('second', now() - max(at))::text
        FROM saga_log GROUP BY 1, 2, 3
    """,
}


class Site(Protocol):
    """An installation."""

    @property
    def place(self) -> "Place": ...

    @property
    def daemons(self) -> Sequence["Daemon"]: ...

    @property
    def foreigners(self) -> Sequence["Daemon"]: ...


def evidence(site: Site) -> str:
    """All of it. Whoever cannot be asked any more is left out, with the reason."""
    place = site.place
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "daemons": lambda: map(_standing, site.daemons),
        "queues: messages ready, consumers": lambda: _queues(place),
        "saga database": lambda: _rows(place.saga_database, _OF_SAGAS),
        "shop database": lambda: _rows(place.shop_database, _OF_SHOP),
    }
    everybody = (*site.daemons, *site.foreigners)
    parts |= {f"the log of {each.name} ends": _ending(each) for each in everybody}
    parts |= {f"what {each.name} is doing": _doing(each) for each in site.daemons}
    return "\n".join(line for title, part in parts.items() for line in _told(title, part))


def _told(title: str, part: Callable[[], Iterator[str]]) -> Iterator[str]:
    yield f"--- {title}:"
    try:
        yield from part()
    except Exception as error:  # the rest is wanted all the more
        yield f"not to be had: {type(error).__name__}: {error}"


def _standing(daemon: "Daemon") -> str:
    if daemon.is_running:
        code, said = daemon.asked("/readyz")
        return f"{daemon.name} has pid {daemon.pid} and answers {code} {said.strip()}"
    with suppress(AssertionError):
        return f"{daemon.name} has ended with exit code {daemon.exit_code}"
    return f"{daemon.name} was not started"


def _ending(daemon: "Daemon") -> Callable[[], Iterator[str]]:
    return lambda: iter(daemon.log_end.splitlines())


def _doing(daemon: "Daemon") -> Callable[[], Iterator[str]]:
    """The stacks of its threads and tasks. Its log ends with them from now on."""

    def stacks() -> Iterator[str]:
        if not daemon.is_running:
            return
        before = len(daemon.log)
        daemon.send(signal.SIGUSR1)
        deadline = time.monotonic() + _STACKS_SECONDS
        while _END_OF_STACKS not in daemon.log[before:] and time.monotonic() < deadline:
            time.sleep(0.05)
        yield daemon.log[before:]

    return stacks


def _queues(place: "Place") -> Iterator[str]:
    return iter(asyncio.run(_looked_at(place)))


async def _looked_at(place: "Place") -> Sequence[str]:
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        return [await _queue(connection, name) for name in _queues_of(place.names)]


async def _queue(connection: aio_pika.abc.AbstractConnection, name: str) -> str:
    try:
        async with connection.channel() as channel:
            found = (await channel.get_queue(name)).declaration_result
    except aio_pika.exceptions.ChannelClosed:
        return f"{name} is not there"
    return f"{name} {found.message_count} {found.consumer_count}"


def _queues_of(names: Names) -> Sequence[str]:
    shop = ("Inventory", "Payment", "Shipping", "Notification", "Order")
    services = [f"{each}Service" for each in shop]
    return [
        *(names.starts, names.replies, names.dead_letters, names.event_log),
        *map(names.commands_for, services),
        *map(names.choreography_of, services),
    ]


def _rows(database: str, queries: Mapping[str, str]) -> Iterator[str]:
    with psycopg.connect(database, autocommit=True, connect_timeout=5) as connection:
        for title, query in {**queries, "its connections": _ACTIVITY}.items():
            yield f"{title}:"
            try:
                rows = connection.execute(query).fetchall()
            except psycopg.errors.UndefinedTable:
                rows = []
            yield from ("  " + " ".join(", ".join(map(str, row)).split()) for row in rows)
