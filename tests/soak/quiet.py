"""The end of a soak: everything runs again, and what is still owed gets done."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import psycopg

from tests.product.installation import Place, wait_for
from tests.product.listeners import heard_by_listeners
from tests.soak.site import Site
from tests.soak.stream import Stream, Way

SETTLE_SECONDS = 180.0  # a compensation is replayed five times before somebody is called
_UNSETTLED = """
    SELECT count(*) FROM dead_letters
    WHERE status = 'replaying' OR status = 'open' AND alert_key IS NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """Who is connected to what, as the broker itself says."""

    consumers: Mapping[str, int]
    """By queue."""
    connections: Mapping[str, int]
    """By the client's name."""


def attendance(site: Site) -> Attendance:
    """Of our programs: their connections have names."""
    clients = map(_client, _listed(site, "list_connections", "client_properties"))
    queues = _listed(site, "list_consumers", "queue_name")
    ours = Counter(name for name in clients if name.startswith(site.place.namespace))
    return Attendance(
        consumers=Counter(queue for queue in queues if queue != heard_by_listeners(site.place)),
        connections=ours,
    )


def messages(site: Site) -> Mapping[str, int]:
    """In every queue, those included that somebody has not acknowledged."""
    rows = [row.split("\t") for row in _listed(site, "list_queues", "name", "messages")]
    return {name: int(count) for name, count in rows}


def settle(site: Site, stream: Stream, streaming: "Future[None]") -> tuple[float, list[str]]:
    """Heal, and wait: how many seconds until the last saga had ended, and what did not come."""
    healed_at = time.monotonic()
    site.heal()
    problems = [*_missing(lambda: _until_done(stream, streaming))]
    seconds = time.monotonic() - healed_at
    facts = {
        "every dead letter is closed, or somebody was called for it": lambda: (
            not _count(site.place, _UNSETTLED)
        ),
        "no message is left in any queue": lambda: not any(messages(site).values()),
    }
    for fact, is_so in facts.items():
        problems += _missing(partial(wait_for, is_so, fact, seconds=SETTLE_SECONDS))
    problems += _missing(site.installation.wait_ready)
    return seconds, problems


def _until_done(stream: Stream, streaming: "Future[None]") -> None:
    way = Way(stream)
    while not streaming.done():
        way.go_on()
        time.sleep(0.1)
    streaming.result()


def _missing(wait: Callable[[], None]) -> Iterator[str]:
    """The fact that was waited for in vain, if it was."""
    try:
        wait()
    except AssertionError as error:
        yield str(error)


def _listed(site: Site, *question: str) -> list[str]:
    answer = site.rabbit.rabbitmqctl(*question, "--no-table-headers")
    return [line for line in answer.splitlines() if line]


def _count(place: Place, query: str) -> int:
    with psycopg.connect(place.saga_database) as there:
        row = there.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def _client(properties: str) -> str:
    """The connection's name, empty if it has none."""
    _, _, rest = properties.partition('"connection_name",')
    return rest.split('"')[1] if rest else ""
