"""Samples of everything that might grow, taken every few seconds."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import psycopg

from tests.chaos.wires import Wire
from tests.product.audit import queues_of
from tests.product.installation import Place
from tests.product.listeners import heard_by_listeners
from tests.soak.site import Site
from tests.soak.stream import Stream
from tests.soak.vitals import size_of, vitals_of

EVERY = 3.0  # seconds
_RARE = 5  # samples between two looks at what is slow to look at
_TABLES = """
    SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid)
    FROM pg_stat_user_tables WHERE schemaname = 'public'
"""
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """One daemon: bytes and counts."""

    pid: int
    resident: int
    handles: int
    threads: int
    broker: int
    """Its connections to the broker, and to the database."""
    database: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableGrowth:
    """One table: rows as PostgreSQL estimates them, and bytes with indexes."""

    live: int
    dead: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was there at one moment. What could not be asked for is None."""

    at: float  # seconds since the soak began
    started: int
    ended: int
    daemons: Mapping[str, Growth]
    queues: Mapping[str, int] | None = None
    sessions: int | None = None
    tables: Mapping[str, TableGrowth] | None = None
    broker_resident: int | None = None
    broker_folder: int | None = None


@dataclass(slots=True, kw_only=True)
class Sampler:
    """Takes samples in a thread of its own, into memory and line by line into a file."""

    site: Site
    stream: Stream
    path: Path
    began_at: float
    samples: list[Sample] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Samples are taken meanwhile, the first at once."""
        stopping = threading.Event()
        thread = threading.Thread(target=self._run, args=[stopping], daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join(60)

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                self.take()
            except Exception as error:  # in the midst of faults; others will do
                print(f"no sample: {error!r}", flush=True)
            stopping.wait(EVERY)

    def take(self, *, is_full: bool = False) -> Sample:
        is_full = is_full or len(self.samples) % _RARE == 0
        place = self.site.place
        sample = Sample(
            at=round(time.monotonic() - self.began_at, 1),
            started=self.stream.started,
            ended=len(self.stream.outcomes.told),
            daemons=dict(self._daemons()),
            queues=_queues(place),
            sessions=_sessions(place),
            tables=_tables(place) if is_full else None,
            **(self._broker() if is_full else {}),
        )
        self.samples.append(sample)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(sample)) + "\n")
        return sample

    def _daemons(self) -> Iterator[tuple[str, Growth]]:
        broker = _ports(self.site.rabbit.url, self.site.broker_wire)
        database = _ports(self.site.postgres.url, self.site.database_wire)
        for name, pid in self.site.installation.pids().items():
            if (vitals := vitals_of(pid)) is not None:
                ports = vitals.connections
                yield (
                    name,
                    Growth(
                        pid=pid,
                        resident=vitals.resident,
                        handles=vitals.handles,
                        threads=vitals.threads,
                        broker=sum(ports.get(port or 0, 0) for port in broker),
                        database=sum(ports.get(port or 0, 0) for port in database),
                    ),
                )

    def _broker(self) -> dict[str, Any]:
        vitals = vitals_of(self.site.rabbit.pid)
        return {
            "broker_resident": vitals.resident if vitals else None,
            "broker_folder": size_of(self.site.rabbit.directory),
        }


def _ports(url: str, wire: Wire) -> set[int | None]:
    """Where clients of a server connect to, steady ones and others."""
    return {urlsplit(each).port for each in (url, wire.url(url))}


def _queues(place: Place) -> Mapping[str, int] | None:
    """Messages that are ready, by queue; None while the broker is away."""

    try:
        return asyncio.run(asyncio.wait_for(_asked(place), 10))
    except Exception:  # whatever an outage makes of it
        return None


async def _asked(place: Place) -> Mapping[str, int]:
    ready: dict[str, int] = {}
    async with await aio_pika.connect(place.amqp_url, timeout=5) as connection:
        channel = await connection.channel()
        for name in (*queues_of(place.names), heard_by_listeners(place)):
            queue = await channel.get_queue(name, ensure=True)
            ready[name] = queue.declaration_result.message_count or 0
    return ready


def _sessions(place: Place) -> int | None:
    with suppress(psycopg.Error), psycopg.connect(place.saga_database, connect_timeout=5) as there:
        row = there.execute(_SESSIONS).fetchone()
        return None if row is None else int(row[0])
    return None


def _tables(place: Place) -> Mapping[str, TableGrowth] | None:
    found: dict[str, TableGrowth] = {}
    try:
        for url in (place.saga_database, place.shop_database):
            with psycopg.connect(url, connect_timeout=5) as there:
                for name, live, dead, size in there.execute(_TABLES).fetchall():
                    found[name] = TableGrowth(live=live, dead=dead, size=size)
    except psycopg.Error:
        return None
    return found
