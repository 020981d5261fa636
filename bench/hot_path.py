"""What one saga costs the orchestrator in CPU, by phase: everything but the broker's client.

    python -m bench.hot_path [--sagas N] [--batch N] [--log-level L] [--against TREE] [--profile]

Four steps on a real Postgres (SAGA_TEST_DATABASE_URL): one start and four replies for each
saga, in full batches; deliveries are made in advance, and publishes are confirmed at once.
`--against` runs this page in turn on this tree and on another one, and shows the ratios.
"""

import argparse
import asyncio
import cProfile
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from time import process_time
from typing import Any, Final
from uuid import uuid4

import psycopg

from bench.hot_deliveries import NAMES, batches_of
from chassis import heap
from chassis.facts import Fact
from chassis.logs import configure, log_fact
from chassis.metrics import Metrics
from chassis.observers import fan_out
from chassis.pacing import Reachability
from messaging.port import Delivery, Outgoing, Receipt
from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.registry import Registry
from orchestrator.saga.state import Decision
from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for
from orchestrator.worker.batches import Batches
from orchestrator.worker.intake import Arrival, read_reply, read_start
from orchestrator.worker.ledger import Ledger, Senders
from orchestrator.worker.publisher import Publisher

PHASES: Final = (
    "decode",
    "begin and commit",
    "load",
    "decide",
    "save",
    "facts",
    "posts",
    "publish",
)
ROUNDS: Final = 3


class Watch:
    """CPU time by phase; a phase within another one is not counted in that one."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._running: list[str] = []
        self._since = process_time()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._turn_to()
        self._running.append(name)
        try:
            yield
        finally:
            self._turn_to()
            self._running.pop()

    def _turn_to(self) -> None:
        now = process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


class TimedTransaction:
    """A transaction, timed."""

    has_moved_lines = False  # the definition has no locks

    def __init__(self, transaction: Any, watch: Watch) -> None:
        self.now: datetime = transaction.now
        self.epoch: str = transaction.epoch
        self._transaction = transaction
        self._watch = watch

    async def lock(self, saga_ids: Collection[str]) -> Mapping[str, Any]:
        with self._watch.phase("load"):
            return dict(await self._transaction.lock(saga_ids))

    async def insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        with self._watch.phase("save"):
            return list(await self._transaction.insert(decisions))

    async def save(self, decisions: Sequence[Decision]) -> None:
        with self._watch.phase("save"):
            await self._transaction.save(decisions)


class TimedRecalled:
    """Sagas in memory, timed."""

    def __init__(self, recalled: Any, watch: Watch) -> None:
        self.now: datetime = recalled.now
        self.epoch: str = recalled.epoch
        self.sagas: Mapping[str, Any] = recalled.sagas
        self._recalled = recalled
        self._watch = watch

    async def save(self, new: Sequence[Decision], changed: Sequence[Decision]) -> Collection[str]:
        with self._watch.phase("save"):
            return set(await self._recalled.save(new, changed))


class TimedBatches(Batches):
    """Batches whose deciding is timed; the rest of what they do is called posts."""

    def __init__(self, watch: Watch, **parts: Any) -> None:
        super().__init__(**parts)
        self._watch = watch

    def _judge(self, ledger: Ledger, arrivals: Iterable[Arrival]) -> None:
        with self._watch.phase("decide"):
            super()._judge(ledger, arrivals)


class TimedStore:
    """A store whose transactions are timed."""

    def __init__(self, store: DatabaseStore, watch: Watch) -> None:
        self._store = store
        self._watch = watch

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[TimedTransaction]:
        with self._watch.phase("begin and commit"):
            async with self._store.transaction() as transaction:
                with self._watch.phase("posts"):
                    yield TimedTransaction(transaction, self._watch)

    def recalled(self, saga_ids: Collection[str]) -> TimedRecalled | None:
        with self._watch.phase("load"):
            recalled = self._store.recalled(saga_ids)
            return None if recalled is None else TimedRecalled(recalled, self._watch)


class ConfirmingBroker:
    """Has every message at once."""

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        return [Receipt.CONFIRMED] * len(messages)


class Bench:
    """One worker's way from deliveries to settled messages."""

    def __init__(self, store: DatabaseStore) -> None:
        self.watch = Watch()
        self._listener = fan_out(log_fact, Metrics().observe)
        self._batches = TimedBatches(
            self.watch,
            store=TimedStore(store, self.watch),  # type: ignore[arg-type]
            registry=Registry([OrderFulfillmentSaga()]),
            senders=Senders(),
            names=NAMES,
            database=Reachability(self._observe),
            observe=self._observe,
        )
        self._publisher = Publisher(ConfirmingBroker(), NAMES, self._observe)  # type: ignore[arg-type]

    def _observe(self, fact: Fact) -> None:
        with self.watch.phase("facts"):
            self._listener(fact)

    async def move(self, deliveries: Sequence[Delivery]) -> None:
        stopping = asyncio.Event()
        read = read_start if deliveries[0].queue == NAMES.starts else read_reply
        with self.watch.phase("decode"):
            arrivals = [read(delivery) for delivery in deliveries]
        with self.watch.phase("posts"):
            committed = await self._batches.commit(arrivals, stopping)
        assert committed is not None, "the database went away"
        with self.watch.phase("facts"):
            self._batches.report(committed)
        with self.watch.phase("publish"):
            await self._publisher.deliver(committed.posts, stopping)


@contextmanager
def database() -> Iterator[str]:
    """A database of our own."""
    server = os.environ.get(
        "SAGA_TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
    )
    name = f"hot_path_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


async def measured(url: str, sagas: int, batch: int, *, profile: bool) -> Mapping[str, float]:
    """Microseconds of CPU for one saga, by phase."""
    store = store_for(url)
    await store.upgrade()
    bench = Bench(store)
    for deliveries in batches_of(batch, max(1, batch // 10)):  # statements become prepared
        await bench.move(deliveries)
    bench.watch.seconds.clear()
    profiler = cProfile.Profile()
    for deliveries in batches_of(sagas, batch):
        if profile:
            profiler.enable()
        await bench.move(deliveries)
        profiler.disable()
    async with store.reading() as connection:
        counted = await connection.exec_driver_sql("SELECT state, count(*) FROM sagas GROUP BY 1")
        assert dict(map(tuple, counted)) == {"completed": sagas + batch}
    await store.close()
    if profile:
        profiler.dump_stats("hot_path.prof")
    return {name: bench.watch.seconds[name] / sagas * 1e6 for name in PHASES}


def once(options: argparse.Namespace) -> Mapping[str, float]:
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, database() as url:
        heap.settle()
        configure(log_format="json", log_level=options.log_level, stream=nothing)
        return asyncio.run(measured(url, options.sagas, options.batch, profile=options.profile))


def elsewhere(tree: Path, options: argparse.Namespace) -> Mapping[str, float]:
    """The same page, run on the code of another tree."""
    numbers = [f"--sagas={options.sagas}", f"--batch={options.batch}"]
    command = [sys.executable, __file__, "--json", f"--log-level={options.log_level}", *numbers]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def compared(options: argparse.Namespace) -> str:
    """The best of some rounds, the two trees in turn: others use the machine as well."""
    here = Path(__file__).resolve().parents[1]
    rounds = [
        (elsewhere(options.against, options), elsewhere(here, options)) for _ in range(ROUNDS)
    ]
    before = min((each[0] for each in rounds), key=lambda figures: sum(figures.values()))
    after = min((each[1] for each in rounds), key=lambda figures: sum(figures.values()))
    lines = [f"{'µs of CPU for one saga':<20}{'there':>8}{'here':>8}{'ratio':>8}"]
    for name in (*PHASES, "all"):
        old, new = ((sum(f.values()) if name == "all" else f[name]) for f in (before, after))
        lines.append(f"{name:<22}{old:>8.0f}{new:>8.0f}{old / max(new, 0.1):>8.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sagas", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--profile", action="store_true", help="write hot_path.prof")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.against:
        said = compared(options)
    else:
        figures = once(options)
        total = f"{'all':<22}{sum(figures.values()):>8.0f}  µs of CPU for one saga"
        lines = [*(f"{name:<22}{figures[name]:>8.0f}" for name in PHASES), total]
        said = json.dumps(figures) if options.json else "\n".join(lines)
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
