"""The throwaway servers do as they promise, and nothing of them stays behind."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import psycopg
import pytest
from servers.finding import POSTGRES, RABBITMQ, Kind, find
from servers.network import free_ports, wait_until
from servers.postgres import PrivatePostgres, postgres_programs
from servers.private import PrivateServer, ServerFailed
from servers.rabbit import PrivateRabbit, rabbit_programs

SERVICES = Path(__file__).with_name("services.py")
QUORUM = {"x-queue-type": "quorum"}

needs_rabbit = pytest.mark.skipif(
    not (rabbit_programs() or os.environ.get("CI")), reason="no rabbitmq-server on this machine"
)
needs_postgres = pytest.mark.skipif(
    not (postgres_programs() or os.environ.get("CI")), reason="no postgres on this machine"
)
needs_both = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    needs_rabbit,
    needs_postgres,
]


@pytest.fixture(scope="module")
def rabbit() -> Iterator[PrivateRabbit]:
    with PrivateRabbit() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres() as server:
        yield server


async def _publish(url: str, queue: str, body: bytes) -> None:
    async with await aio_pika.connect(url, timeout=10) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments=QUORUM)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=queue)


async def _take(url: str, queue: str) -> bytes:
    async with asyncio.timeout(30), await aio_pika.connect(url, timeout=10) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, durable=True, arguments=QUORUM)
        async with declared.iterator(no_ack=True) as messages:
            return (await anext(messages)).body


@needs_rabbit
@pytest.mark.rabbitmq
async def test_a_private_rabbit_keeps_confirmed_messages_through_a_kill(
    rabbit: PrivateRabbit,
) -> None:
    await _publish(rabbit.url, "kept", b"still here")
    rabbit.sync_declarations()
    rabbit.kill()
    assert not rabbit.is_running()
    await asyncio.to_thread(rabbit.start)
    assert await _take(rabbit.url, "kept") == b"still here"


@needs_rabbit
@pytest.mark.rabbitmq
def test_a_private_rabbit_has_nothing_of_the_systems(rabbit: PrivateRabbit) -> None:
    assert rabbit.rabbitmqctl("list_users", "--no-table-headers").split() == [
        "test",
        "[administrator]",
    ]
    assert str(rabbit.directory) in rabbit.rabbitmqctl("environment")


@needs_rabbit
@pytest.mark.rabbitmq
def test_a_failing_rabbitmqctl_says_what_it_said(rabbit: PrivateRabbit) -> None:
    with pytest.raises(ServerFailed, match="nobody"):
        rabbit.rabbitmqctl("delete_user", "nobody")


@needs_postgres
@pytest.mark.postgres
def test_a_private_postgres_keeps_committed_rows_through_a_kill(postgres: PrivatePostgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'still here' AS word")
    postgres.kill()
    assert not postgres.is_running()
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("still here",)]
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


@needs_postgres
@pytest.mark.postgres
def test_a_private_postgres_wants_its_password(postgres: PrivatePostgres) -> None:
    guessed = postgres.url.replace("postgres:", "postgres:wrong-", 1)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(guessed)


@needs_postgres
@pytest.mark.postgres
def test_a_paused_postgres_answers_nobody_until_it_is_resumed(postgres: PrivatePostgres) -> None:
    postgres.pause()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.url, connect_timeout=2)
    postgres.resume()
    with psycopg.connect(postgres.url, connect_timeout=10) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def _processes_of(server: PrivateServer) -> set[str]:
    """Every process that names the server's directory in its environment or command line."""
    mark = str(server.directory).encode()
    return {
        process.name
        for process in Path("/proc").glob("[0-9]*")
        for file in ("cmdline", "environ")
        if mark in _bytes_of(process / file)
    }


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


@needs_postgres
@needs_rabbit
@pytest.mark.postgres
@pytest.mark.rabbitmq
@pytest.mark.parametrize("private", [PrivateRabbit, PrivatePostgres])
def test_a_closed_server_leaves_nothing_behind(private: type[PrivateServer]) -> None:
    with private() as server:
        assert _processes_of(server)
    assert wait_until(lambda: not _processes_of(server), seconds=5)
    assert not server.directory.exists()


@needs_rabbit
@pytest.mark.rabbitmq
def test_a_rabbit_that_was_only_asked_leaves_nothing_behind() -> None:
    server = PrivateRabbit()
    assert server.rabbitmqctl("version")
    server.close()
    assert wait_until(lambda: not _processes_of(server), seconds=5)


@pytest.mark.parametrize("kind", [RABBITMQ, POSTGRES], ids=lambda kind: kind.name)
def test_a_server_that_is_named_but_does_not_answer_is_an_error(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.finding.wait_until", lambda is_so, *, seconds: is_so())
    url = f"any://user:hidden@127.0.0.1:{free_ports(1)[0]}/"
    with pytest.raises(ServerFailed, match=f"no {kind.name} answers.*{kind.variable}") as failure:
        find(kind, {kind.variable: url})
    assert "hidden" not in str(failure.value)


def _services(*arguments: str) -> subprocess.Popen[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("SAGA_TEST_")}
    return subprocess.Popen(
        [sys.executable, str(SERVICES), *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_a_command_the_usage_is_shown() -> None:
    process = _services("run", "--")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.startswith("usage:")


class TestServices:
    """The whole script. Each start of two servers takes some five seconds."""

    pytestmark = needs_both

    def test_the_command_gets_both_servers_and_its_exit_code_is_handed_on(self) -> None:
        program = "import os; print(*sorted(k for k in os.environ if 'SAGA_TEST' in k)); exit(7)"
        process = _services("run", "--", sys.executable, "-c", program)
        output, _ = process.communicate(timeout=60)
        *used, variables = output.splitlines()
        assert process.returncode == 7
        assert [line.split()[1] for line in used] == ["RabbitMQ", "PostgreSQL"]
        assert variables.split() == ["SAGA_TEST_AMQP_URL", "SAGA_TEST_DATABASE_URL"]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda it: it.name)
    def test_a_signal_ends_the_command_and_removes_the_servers(
        self, number: signal.Signals, tmp_path: Path
    ) -> None:
        marker = tmp_path / "running"
        script = f'echo "$SAGA_TEST_DATABASE_URL" > {marker}.new; mv {marker}.new {marker}'
        process = _services("run", "--", "sh", "-c", f"{script}; exec sleep 60")
        assert wait_until(marker.exists, seconds=60)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(marker.read_text().strip(), connect_timeout=5)


class TestOtherWays:
    """What cannot be had on every machine: an engine, and nothing at all."""

    BARE = dataclasses.replace(POSTGRES, programs=lambda: None)

    def test_without_any_way_to_a_server_all_ways_are_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ServerFailed) as failure:
            find(self.BARE, {})
        for way in ("SAGA_TEST_DATABASE_URL", "package postgresql", "Docker", "sudo"):
            assert way in str(failure.value)

    def test_where_docker_answers_a_container_is_started_and_removed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A script stands for the engine: it notes what it is asked and names a port."""
        log = tmp_path / "log"
        docker = tmp_path / "docker"
        docker.write_text(
            f'#!/bin/sh\necho "$@" >> {log}\n'
            'case "$*" in *" port postgres 5432") echo 127.0.0.1:49152 ;; esac\n'
        )
        docker.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        with find(self.BARE, {}) as server:
            address = urlsplit(server.url)
            assert (address.hostname, address.port) == ("127.0.0.1", 49152)
            assert address.password
        asked = [line.split("--project-name")[-1].split(maxsplit=1)[-1] for line in _lines(log)]
        assert asked == [
            "version",
            "info",
            "up --detach --wait postgres",
            "port postgres 5432",
            "down --volumes --timeout 1",
        ]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()
