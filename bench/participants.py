"""What a command costs a participant, over a real broker and Postgres.

    python -m bench.participants [--rounds N] [--only NAME] [--against TREE]

The commands wait in the queue before the clock starts, and nobody reads the replies: the
processor time is that of the participant alone, with its guard. `--against` runs this page in
turn on this tree and on another one, and shows the ratios.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from uuid import uuid4

import aio_pika
import psycopg
from sqlalchemy import text

from chassis.facts import BatchCommitted, CommandHandled, Fact
from chassis.metrics import Metrics
from chassis.observers import fan_out
from messaging.brokers import broker_for
from messaging.codec import encode_command
from messaging.contract import Command, Direction, command_id_for
from messaging.port import Broker, Outgoing, Receipt
from messaging.topology import Names, TopologyMode, installation
from participants import Context, Participant
from participants.runner import Runner, inbox_for

SERVICE: Final = "BenchService"
DATABASE: Final = "bench_participants"
NAMES: Final = Names("bench_participants")
ORDER: Final = {
    "order_id": "order-4711",
    "customer_id": "customer-1",
    "items": [{"sku": "A-1", "quantity": 2, "price": 30}, {"sku": "B-2", "quantity": 1}],
    "payment_method": "card",
    "shipping_address": "1 Long Street, Town",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to handle a command."""

    name: str
    options: dict[str, Any]
    has_sql: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    case: str
    commands: int
    seconds: float
    cpu: float
    sizes: Sequence[int]

    def __str__(self) -> str:
        mean = sum(self.sizes) / len(self.sizes) if self.sizes else 1
        return (
            f"{self.case:<20} {self.commands / self.seconds:8.0f} commands/s"
            f" {1e6 * self.cpu / self.commands:8.0f} us CPU/command"
            f"   mean batch {mean:.0f}"
        )


CASES: Final = (
    Case(name="each alone", options={}),
    Case(name="in batches", options={"batch": True}),
    Case(name="each alone, SQL", options={}, has_sql=True),
    Case(name="in batches, SQL", options={"batch": True}, has_sql=True),
)


class Tally:
    """Counts what has been handled, and says when that is enough."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self.outcomes: Counter[str] = Counter()
        self.sizes: list[int] = []
        self.is_complete = asyncio.Event()

    def __call__(self, fact: Fact) -> None:
        match fact:
            case CommandHandled():
                self.outcomes[fact.outcome] += 1
                self._missing -= 1
                if not self._missing:
                    self.is_complete.set()
            case BatchCommitted():
                self.sizes.append(fact.size)


def participant(case: Case) -> Participant:
    service = Participant(SERVICE)

    @service.action("Act", **case.options)
    async def act(command: dict[str, Any], context: Context) -> dict[str, Any]:
        if case.has_sql:
            row = {"id": context.idempotency_key, "saga": context.saga_id}
            await context.session.execute(_INSERT, row)
        return {"reservation_id": context.idempotency_key}

    @service.prepare
    async def create(connection: Any) -> None:
        await connection.execute(
            text("CREATE TABLE IF NOT EXISTS bench_effect (id text PRIMARY KEY, saga text)")
        )

    return service


_INSERT: Final = text("INSERT INTO bench_effect VALUES (:id, :saga)")


def command(number: int) -> Command:
    saga_id, step = f"{uuid4()}-{number}", "act"
    return Command(
        saga_id=saga_id,
        saga_type="Bench",
        step_name=step,
        direction=Direction.ACTION,
        destination=f"{SERVICE}.Act",
        command_id=command_id_for(saga_id, step, Direction.ACTION),
        attempt=1,
        data=ORDER,
    )


@asynccontextmanager
async def empty_broker(url: str) -> AsyncIterator[Callable[[], Broker]]:
    """Brokers for a namespace of the benchmark's own, which is deleted afterwards."""
    topology = installation(NAMES, [SERVICE])

    def new() -> Broker:
        return broker_for(
            url, names=NAMES, topology=topology, mode=TopologyMode.DECLARE, app_id="bench"
        )

    await _delete(url)
    try:
        yield new
    finally:
        await _delete(url)


async def _delete(url: str) -> None:
    topology = installation(NAMES, [SERVICE])
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in topology.queues:
            await channel.queue_delete(queue.name)
        for exchange in topology.exchanges:
            await channel.exchange_delete(exchange.name)


@asynccontextmanager
async def empty_database(url: str) -> AsyncIterator[str]:
    server, _, _ = url.rpartition("/")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
        try:
            yield f"{server}/{DATABASE}"
        finally:
            await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


async def measure(
    case: Case, commands: int, new_broker: Callable[[], Broker], url: str
) -> Measured:
    async with new_broker() as broker:
        await broker.wait_ready(10)
        await _fill(broker, [encode_command(NAMES, command(n)) for n in range(commands)])
    tally = Tally(commands)
    inbox = inbox_for(url, connections=11)
    try:
        async with new_broker() as broker:
            await broker.wait_ready(10)
            observe = fan_out(Metrics().observe, tally)
            runner = Runner(
                participant(case), broker=broker, inbox=inbox, names=NAMES, observe=observe
            )
            await runner.prepare()
            return await _timed(case, runner, tally, commands)
    finally:
        await inbox.close()


async def _fill(broker: Broker, messages: Sequence[Outgoing]) -> None:
    for start in range(0, len(messages), 500):
        receipts = await broker.publish(messages[start : start + 500])
        if set(receipts) != {Receipt.CONFIRMED}:
            raise SystemExit(f"the broker did not take the commands: {set(receipts)}")


async def _timed(case: Case, runner: Runner, tally: Tally, commands: int) -> Measured:
    stopping = asyncio.Event()
    cpu, began = _cpu(), time.perf_counter()
    work = asyncio.create_task(runner.run(stopping))
    await tally.is_complete.wait()
    seconds, used = time.perf_counter() - began, _cpu() - cpu
    stopping.set()
    await work
    if tally.outcomes != {"completed": commands}:
        raise SystemExit(f"{case.name}: not every command was completed: {tally.outcomes}")
    return Measured(case=case.name, commands=commands, seconds=seconds, cpu=used, sizes=tally.sizes)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def run(chosen: argparse.Namespace) -> None:
    async with empty_broker(chosen.amqp) as new_broker, empty_database(chosen.database) as url:
        for _ in range(chosen.rounds):
            for case in CASES:
                if chosen.only in case.name:
                    measured = await measure(case, chosen.commands, new_broker, url)
                    said = json.dumps([case.name, measured.cpu]) if chosen.json else measured
                    sys.stdout.write(f"{said}\n")
                    sys.stdout.flush()


def compare(chosen: argparse.Namespace) -> None:
    """The median of the rounds, the two trees in turn: others use the machine as well."""
    here, seconds = (
        Path(__file__).resolve().parents[1],
        defaultdict[tuple[str, Path], list[float]](list),
    )
    for tree in (chosen.against, here) * chosen.rounds:
        for name, cpu in elsewhere(tree, chosen):
            seconds[name, tree].append(cpu)
    for name in dict.fromkeys(name for name, _ in seconds):
        there, now = (1e6 * median(seconds[name, each]) for each in (chosen.against, here))
        there, now = there / chosen.commands, now / chosen.commands
        sys.stdout.write(f"{name:<20} {there:8.0f} there {now:8.0f} here, us CPU/command")
        sys.stdout.write(f"   ratio {now / there:.2f}\n")


def elsewhere(tree: Path, chosen: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """The same page, run on the code of another tree."""
    options = [f"--commands={chosen.commands}", f"--only={chosen.only}", "--json"]
    servers = [f"--amqp={chosen.amqp}", f"--database={chosen.database}"]
    command = [sys.executable, "-P", __file__, *options, *servers]  # not the folder of our name
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    for line in done.stdout.splitlines():
        yield tuple(json.loads(line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--amqp", default="amqp://guest:guest@127.0.0.1:5672/")
    parser.add_argument("--database", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--against", type=Path, help="another tree, to be compared with")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.against:
        compare(chosen)
        return
    try:
        import uvloop  # noqa: PLC0415  # optional, as for the programs

        runner: Any = uvloop.run
    except ImportError:
        runner = asyncio.run
    runner(run(chosen))


if __name__ == "__main__":
    main()
