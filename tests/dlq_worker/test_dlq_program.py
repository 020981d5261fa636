"""`python -m dlq_worker` as a process: how it starts, tells, refuses and ends."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from dlq_stories import REFUND_FAILED, exhausted, stored_saga, until
from http_receiver import Post, receiving

from dlq_worker.listing import list_letters
from messaging.brokers import broker_for
from messaging.topology import Names, TopologyMode, installation
from orchestrator.store.database import DatabaseStore
from orchestrator.store.stores import store_for

pytest_plugins = ["conformance.store_fixtures"]

NOWHERE = "amqp://guest:guest@127.0.0.1:1/"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@asynccontextmanager
async def started(folder: Path, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAGA_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "dlq_worker",
        cwd=folder,
        env={**inherited, "SAGA_HTTP_HOST": "127.0.0.1", "SAGA_LOG_FORMAT": "json", **settings},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    _, log = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, log.decode()


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


async def ready(port: int) -> bool:
    status, _ = await asyncio.to_thread(asked, port, "/readyz")
    return status == 200


async def failing(port: int) -> Mapping[str, str]:
    status, body = await asyncio.to_thread(asked, port, "/readyz")
    return json.loads(body)["failing"] if status == 503 else {}


async def test_it_works_answers_probes_and_drains(
    amqp_url: str, names: Names, database_url: str, store: DatabaseStore, port: int, tmp_path: Path
) -> None:
    settings = {
        "SAGA_AMQP_URL": amqp_url,
        "SAGA_DATABASE_URL": database_url,
        "SAGA_NAMESPACE": names.namespace,
        "SAGA_HTTP_PORT": str(port),
        "SAGA_REPLAY_LIMIT": "0",
    }
    saga = await stored_saga(store, *REFUND_FAILED)
    broker = broker_for(
        amqp_url,
        names=names,
        topology=installation(names, ["PaymentService"]),
        mode=TopologyMode.DECLARE,
        app_id="test",
    )
    async with started(tmp_path, **settings) as process, broker:
        await until(lambda: ready(port))
        await broker.publish([exhausted(saga, names)])
        (view,) = await until(lambda: list_letters(store))
        _, metrics = await asyncio.to_thread(asked, port, "/metrics")
        process.send_signal(signal.SIGTERM)
        code, log = await ended(process)
    assert code == 0
    assert 'saga_dead_letters_total{reason="compensation_exhausted"} 1.0' in metrics
    assert "saga_consumer_up 1.0" in metrics
    assert view.stored.letter.saga_id in log
    assert "4111" not in log, "payloads are not logged"
    assert "Traceback" not in log


async def test_it_tells_systemd_when_it_consumes_and_probes_when_it_drains(
    amqp_url: str, names: Names, database_url: str, store: DatabaseStore, port: int, tmp_path: Path
) -> None:
    """An alert is under way when it is asked to stop, and is finished first."""
    saga = await stored_saga(store, *REFUND_FAILED)
    broker = broker_for(
        amqp_url,
        names=names,
        topology=installation(names, ["PaymentService"]),
        mode=TopologyMode.DECLARE,
        app_id="test",
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, receiving() as webhook:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        webhook.gate.clear()
        settings = {
            "SAGA_AMQP_URL": amqp_url,
            "SAGA_DATABASE_URL": database_url,
            "SAGA_NAMESPACE": names.namespace,
            "SAGA_HTTP_PORT": str(port),
            "SAGA_REPLAY_LIMIT": "0",
            "SAGA_ALERT_WEBHOOK_URL": webhook.url,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
        }
        async with started(tmp_path, **settings) as process, broker:
            heard = await asyncio.to_thread(systemd.recv, 1000)
            await broker.publish([exhausted(saga, names)])
            await until(lambda: _has(webhook.posts))
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(systemd.recv, 1000)
            draining = await failing(port)
            webhook.gate.set()
            code, log = await ended(process)
    assert heard == b"READY=1\nSTATUS=recovering dead letters"
    assert (draining.get("drain"), code) == ("stopping", 0)
    assert "alert not delivered" not in log


async def _has(posts: Sequence[Post]) -> bool:
    return bool(posts)


async def test_while_the_broker_is_away_it_waits_and_says_so(
    database_url: str, store: DatabaseStore, port: int, tmp_path: Path
) -> None:
    settings = {
        "SAGA_AMQP_URL": NOWHERE,
        "SAGA_DATABASE_URL": database_url,
        "SAGA_HTTP_PORT": str(port),
    }
    async with started(tmp_path, **settings) as process:
        assert "broker" in await until(lambda: failing(port))
        process.send_signal(signal.SIGTERM)
        code, _ = await ended(process)
    assert code == 0


async def test_while_the_database_is_away_it_waits_and_says_so(port: int, tmp_path: Path) -> None:
    settings = {
        "SAGA_AMQP_URL": NOWHERE,
        "SAGA_DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/nothing",
        "SAGA_HTTP_PORT": str(port),
    }
    async with started(tmp_path, **settings) as process:
        await until(lambda: _database_fails(port))
        process.send_signal(signal.SIGTERM)
        code, log = await ended(process)
    assert code == 0
    assert "nobody:x" not in log


async def _database_fails(port: int) -> bool:
    return "database" in await failing(port)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "SAGA_DATABASE_URL is not set"),
        ({"SAGA_DATABASE_URL": "sqlite:///empty.db"}, "saga db upgrade"),
        ({"SAGA_DATABASE_URL": "sqlite:///empty.db", "SAGA_REPLAY_LIMIT": "-1"}, "REPLAY_LIMIT"),
        (
            {"SAGA_DATABASE_URL": "sqlite:///empty.db", "SAGA_ALERT_APPRISE_URLS": "what://x"},
            "SAGA_ALERT_APPRISE_URLS",
        ),
        (
            {"SAGA_DATABASE_URL": "sqlite:///empty.db", "SAGA_ALERT_WEBHOOK_URL": "ftp://x"},
            "SAGA_ALERT_WEBHOOK_URL",
        ),
    ],
)
async def test_a_bad_installation_is_refused_with_its_remedy(
    settings: dict[str, str], told: str, tmp_path: Path
) -> None:
    common = {"SAGA_AMQP_URL": NOWHERE, "SAGA_HTTP_PORT": "0"}
    async with started(tmp_path, **common, **settings) as process:
        code, log = await ended(process)
    assert code == 78
    assert told in log
    assert "Traceback" not in log


async def test_a_login_that_the_broker_refuses_ends_it(amqp_url: str, tmp_path: Path) -> None:
    store = store_for(f"sqlite:///{tmp_path}/sagas.db")
    await store.upgrade()
    await store.close()
    parts = urlsplit(amqp_url)
    login = f"{parts.username}:{parts.password}@"
    wrong = amqp_url.replace(login, f"{parts.username}:wrong@")
    settings = {"SAGA_AMQP_URL": wrong, "SAGA_DATABASE_URL": "sqlite:///sagas.db"}
    async with started(tmp_path, **settings, SAGA_HTTP_PORT="0") as process:
        code, log = await ended(process)
    assert code == 78
    assert ":wrong" not in log
