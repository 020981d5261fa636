"""`python -m participants` as a process: starts, is killed, is stopped, refuses."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psycopg
import pytest

from messaging.brokers import broker_for
from messaging.contract import ReplyType
from messaging.errors import ConfigurationError
from messaging.topology import Names, TopologyMode, installation
from participants.examples.books import INITIAL_STOCK
from participants.run import load_participants
from tests.conformance.worlds import eventually
from tests.faults.proxy import FaultProxy
from tests.participants.desk import SECONDS, Desk, command

ROOT = Path(__file__).resolve().parents[2]
SERVICES = """
import os, signal
from pathlib import Path
from sqlalchemy import text
from participants import Context, Participant

service = Participant("TestService")
HERE = Path(__file__).parent

@service.prepare
async def create(connection):
    await connection.execute(text("CREATE TABLE IF NOT EXISTS effects (saga_id text)"))

async def take_effect(context):
    query = text("INSERT INTO effects VALUES (:saga_id)")
    await context.session.execute(query, {"saga_id": context.saga_id})

@service.action("Act")
async def act(command: dict, context: Context):
    await take_effect(context)
    return {"pid": os.getpid()}

@service.action("DieOnce")
async def die_once(command: dict, context: Context):
    await take_effect(context)
    if not (HERE / "died").exists():
        (HERE / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)

@service.action("WaitForLock")
async def wait_for_lock(command: dict, context: Context):
    await take_effect(context)
    await context.session.execute(text("SELECT pg_advisory_xact_lock(1)"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "services_for_tests.py").write_text(SERVICES)
    return tmp_path


@pytest.fixture
async def desk(names: Names, amqp_url: str) -> AsyncIterator[Desk]:
    async with broker_for(
        amqp_url,
        names=names,
        topology=installation(names, ["TestService", "InventoryService"]),
        mode=TopologyMode.DECLARE,
        app_id="tests",
    ) as broker:
        yield await Desk.open(names, broker)


@contextmanager
def program(folder: Path, *targets: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A process of ours, killed at the end if it still runs."""
    inherited = {name: value for name, value in os.environ.items() if name[:5] != "SAGA_"}
    env = {**inherited, "PYTHONPATH": str(ROOT), "SAGA_HTTP_PORT": "0", **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "participants", *targets],
        cwd=folder,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and all that was logged."""
    _, log = process.communicate(timeout=SECONDS)
    return process.returncode, log


@contextmanager
def systemd_in(folder: Path) -> Iterator[socket.socket]:
    """What programs tell systemd whose NOTIFY_SOCKET is `notify` in this folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(SECONDS)
        yield listener


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def page(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=SECONDS) as answer:
        text: str = answer.read().decode()
        return text


def failing(port: int) -> Any:
    """The checks that keep it from being ready, and why."""
    try:
        text = page(port, "readyz")
    except HTTPError as error:
        with error:
            text = error.read().decode()
    return json.loads(text)["failing"]


def effects(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT saga_id FROM effects")]


def waits_for_lock(url: str) -> Callable[[], bool]:
    query = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    def is_so() -> bool:
        with psycopg.connect(url) as connection:
            row = connection.execute(query).fetchone()
            return row is not None and row[0] == 1

    return is_so


@pytest.mark.slow
async def test_a_program_answers_and_ends_well_when_asked_to(
    desk: Desk, folder: Path, amqp_url: str, empty_database_url: str
) -> None:
    with program(
        folder,
        "services_for_tests:service",
        SAGA_AMQP_URL=amqp_url,
        SAGA_INBOX_URL=empty_database_url,
        SAGA_NAMESPACE=desk.names.namespace,
        SAGA_HTTP_HOST="127.0.0.1",
        SAGA_HTTP_PORT=str(port := free_port()),
    ) as process:
        reply = await desk.ask(command("TestService.Act"))
        ready = await asyncio.to_thread(page, port, "readyz")
        metrics = await asyncio.to_thread(page, port, "metrics")
        process.send_signal(signal.SIGTERM)
        code, log = ended(process)
    assert (code, reply.result) == (0, {"pid": process.pid})
    assert "in memory" not in log
    assert '"status": "ready"' in ready
    assert 'saga_commands_handled_total{command="Act",outcome="completed"' in metrics
    assert effects(empty_database_url) == ["order-1"]


@pytest.mark.slow
async def test_a_program_tells_systemd_and_probes_when_it_begins_and_when_it_drains(
    desk: Desk, folder: Path, amqp_url: str, empty_database_url: str
) -> None:
    with (
        systemd_in(folder) as systemd,
        psycopg.connect(empty_database_url, autocommit=True) as holder,
    ):
        holder.execute("SELECT pg_advisory_lock(1)")
        with program(
            folder,
            "services_for_tests",
            SAGA_AMQP_URL=amqp_url,
            SAGA_INBOX_URL=empty_database_url,
            SAGA_NAMESPACE=desk.names.namespace,
            SAGA_HTTP_HOST="127.0.0.1",
            SAGA_HTTP_PORT=str(port := free_port()),
            NOTIFY_SOCKET=str(folder / "notify"),
        ) as process:
            heard = await asyncio.to_thread(systemd.recv, 1000)
            begun = await asyncio.to_thread(failing, port)
            await desk.send(command("TestService.WaitForLock"))
            await eventually(waits_for_lock(empty_database_url))
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(systemd.recv, 1000)
            draining = await asyncio.to_thread(failing, port)
            holder.execute("SELECT pg_advisory_unlock(1)")
            reply = await desk.reply()
            code, _ = ended(process)
    assert (heard, begun) == (b"READY=1\nSTATUS=executing commands", {})
    assert draining == {"drain": "stopping"}
    assert (code, reply.type) == (0, ReplyType.STEP_COMPLETED)


@pytest.mark.slow
async def test_two_replicas_at_once_give_every_command_one_effect(
    desk: Desk, folder: Path, amqp_url: str, empty_database_url: str
) -> None:
    """Every command comes twice, for the same few articles, so that all get in each other's way."""
    settings = {
        "SAGA_AMQP_URL": amqp_url,
        "SAGA_INBOX_URL": empty_database_url,
        "SAGA_NAMESPACE": desk.names.namespace,
        "NOTIFY_SOCKET": str(folder / "notify"),
    }
    articles = [{"sku": sku, "quantity": 1} for sku in "ABC"]
    orders = [
        command(
            "InventoryService.ReserveItems",
            f"order-{number}",
            step="reserve_inventory",
            order_id=str(number),
            items=articles if number % 2 else articles[::-1],
        )
        for number in range(100)
    ]
    service = "participants.examples.order_fulfillment:inventory"
    with (
        systemd_in(folder) as systemd,
        program(folder, service, **settings),
        program(folder, service, **settings),
    ):
        heard = [await asyncio.to_thread(systemd.recv, 1000) for _ in range(2)]
        await desk.send(*orders, *orders)
        replies = [await desk.reply() for _ in range(200)]
    with psycopg.connect(empty_database_url) as connection:
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.execute(deadlocks).fetchone() == (0,)
        reservations = "SELECT saga_id, sku, count(*) FROM inventory_reservations GROUP BY 1, 2"
        lines = connection.execute(reservations).fetchall()
        stock = connection.execute("SELECT DISTINCT available FROM inventory_stock").fetchall()
    assert [each[:7] for each in heard] == [b"READY=1"] * 2
    assert {reply.type for reply in replies} == {ReplyType.STEP_COMPLETED}
    assert (len(lines), {count for _, _, count in lines}) == (300, {1})
    assert stock == [(INITIAL_STOCK - 100,)]


@pytest.mark.slow
async def test_a_program_killed_before_its_commit_has_done_nothing(
    desk: Desk, folder: Path, amqp_url: str, empty_database_url: str
) -> None:
    settings = {
        "SAGA_AMQP_URL": amqp_url,
        "SAGA_INBOX_URL": empty_database_url,
        "SAGA_NAMESPACE": desk.names.namespace,
    }
    await desk.send(command("TestService.DieOnce"))
    with program(folder, "services_for_tests", **settings) as process:
        assert ended(process)[0] == -signal.SIGKILL
    assert effects(empty_database_url) == []
    with program(folder, "services_for_tests", **settings):
        reply = await desk.reply()
    assert reply.type is ReplyType.STEP_COMPLETED
    assert effects(empty_database_url) == ["order-1"]


@pytest.mark.slow
async def test_a_program_killed_between_commit_and_reply_answers_from_memory(
    desk: Desk, folder: Path, amqp_url: str, empty_database_url: str
) -> None:
    """The effect is committed while the broker's line is frozen; then the process is killed."""
    host, _, port = amqp_url.rpartition("@")[2].partition("/")[0].partition(":")
    settings = {"SAGA_INBOX_URL": empty_database_url, "SAGA_NAMESPACE": desk.names.namespace}
    async with FaultProxy(host, int(port or 5672)) as proxy:
        frail = {**settings, "SAGA_AMQP_URL": proxy.url(amqp_url)}
        with (
            psycopg.connect(empty_database_url, autocommit=True) as holder,
            program(folder, "services_for_tests", **frail) as process,
        ):
            holder.execute("SELECT pg_advisory_lock(1)")
            await desk.send(command("TestService.WaitForLock"))
            await eventually(waits_for_lock(empty_database_url))
            proxy.freeze()
            holder.execute("SELECT pg_advisory_unlock(1)")
            await eventually(lambda: effects(empty_database_url) == ["order-1"])
            process.send_signal(signal.SIGKILL)
            assert ended(process)[0] == -signal.SIGKILL
    with program(folder, "services_for_tests", SAGA_AMQP_URL=amqp_url, **settings):
        reply = await desk.reply()
        assert reply.type is ReplyType.STEP_COMPLETED
        assert await desk.is_silent(until=command("TestService.Act", "order-2"))
    assert effects(empty_database_url) == ["order-1", "order-2"]


@pytest.mark.slow
def test_the_order_example_refuses_to_run_without_a_database(tmp_path: Path) -> None:
    with program(
        tmp_path, "participants.examples.order_fulfillment", SAGA_AMQP_URL="memory://"
    ) as process:
        code, log = ended(process)
    assert code == 78
    assert "set SAGA_INBOX_URL" in log


@pytest.mark.slow
def test_a_program_without_a_database_warns(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        'from participants import Participant\nservice = Participant("TestService")\n'
    )
    with program(tmp_path, "plain", SAGA_AMQP_URL="memory://") as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "inbox is in memory" in line)
        process.send_signal(signal.SIGTERM)
        code, _ = ended(process)
    assert code == 0
    assert "SAGA_INBOX_URL" in line


@pytest.mark.slow
def test_a_program_stops_while_it_waits_for_its_database(folder: Path) -> None:
    with program(
        folder,
        "services_for_tests",
        SAGA_AMQP_URL="memory://",
        SAGA_INBOX_URL="postgresql://nobody@127.0.0.1:1/nothing",
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "the inbox cannot be used now" in line)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, _ = ended(process)
    assert code == 0
    assert time.monotonic() - began < 10


@pytest.fixture
def shop_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "shop_of_two.py").write_text(
        "from participants import Participant\n"
        'one, two = Participant("One"), Participant("Two")\nnumber = 7\n'
    )
    (tmp_path / "shop_of_twins.py").write_text(
        "from participants import Participant\n"
        'one, two = Participant("Twin"), Participant("Twin")\n'
    )
    (tmp_path / "shop_without_any.py").write_text("number = 7\n")
    (tmp_path / "shop_of_errors.py").write_text("import nothing_by_that_name\n")
    return tmp_path


def test_a_module_stands_for_all_its_participants(shop_modules: Path) -> None:
    names = [each.name for each in load_participants(["shop_of_two"])]
    assert names == ["One", "Two"]


def test_a_participant_named_twice_runs_once(shop_modules: Path) -> None:
    found = load_participants(["shop_of_two:two", "shop_of_two"])
    assert [each.name for each in found] == ["Two", "One"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("shop_of_twins", "participants of the same name: Twin"),
        ("shop_without_any", "defines no participant"),
        ("shop_of_two:three", "is nothing, not a Participant"),
        ("shop_of_two:number", "is a int, not a Participant"),
        ("shop_nowhere", "cannot import 'shop_nowhere'"),
        ("shop_of_errors", "nothing_by_that_name"),
        ("", "cannot import ''"),
        (".relative", "cannot import '.relative'"),
    ],
)
def test_a_target_that_leads_nowhere_is_named(
    shop_modules: Path, target: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_participants([target])


def test_a_participant_in_a_fresh_process_loads_no_sql(tmp_path: Path) -> None:
    """Not even while it runs, as long as its inbox is in memory."""
    (tmp_path / "light.py").write_text(LIGHT)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "light.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "SagaStepCompleted []\n"


LIGHT = """
import asyncio, sys
from messaging.codec import encode_command
from messaging.contract import Command, Direction
from messaging.memory import MemoryBroker, MemoryServer
from messaging.topology import Names, TopologyMode, installation
from participants import Context, Participant
from participants.memory_inbox import MemoryInbox
from participants.runner import Runner

service = Participant("TestService")

@service.action("Act")
async def act(command: dict, context: Context): ...

async def main():
    names = Names("t")
    broker = MemoryBroker(MemoryServer(), names=names, app_id="t", mode=TopologyMode.DECLARE,
                          topology=installation(names, ["TestService"]))
    async with broker:
        stopping = asyncio.Event()
        runner = Runner(service, broker=broker, inbox=MemoryInbox(), names=names,
                        observe=lambda fact: None)
        work = asyncio.create_task(runner.run(stopping))
        command = Command(saga_id="s", saga_type="T", step_name="a", direction=Direction.ACTION,
                          destination="TestService.Act", command_id="c", attempt=1, data={})
        await broker.publish([encode_command(names, command)])
        replies = await broker.consume(names.replies, prefetch=1)
        [reply] = await replies.receive(1)
        stopping.set()
        await work
    unwanted = {"sqlalchemy", "psycopg", "aiosqlite", "alembic", "typer", "orchestrator"}
    print(reply.type, sorted(unwanted & {name.partition(".")[0] for name in sys.modules}))

asyncio.run(main())
"""
