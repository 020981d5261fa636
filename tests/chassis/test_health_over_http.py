"""Probes and scrapes over real HTTP, while the event loop hangs and clients misbehave."""

import asyncio
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chassis import health as health_module
from chassis import http_server
from chassis.facts import BatchCommitted
from chassis.health import Health
from chassis.metrics import Metrics
from messaging.errors import ConfigurationError

HOST = "127.0.0.1"


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        number: int = probe.getsockname()[1]
        return number


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


async def asked(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, Any, bytes]:
    return await asyncio.to_thread(ask, port, path, method, **headers)


async def test_a_living_program_says_who_it_is(port: int) -> None:
    async with Health("orchestrator").serving(HOST, port):
        status, headers, body = await asked(port, "/livez")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["name"] == "orchestrator"


async def test_readiness_tells_every_reason_why_not(port: int) -> None:
    problems: dict[str, str | None] = {"broker": None, "database": None}
    health = Health("orchestrator")
    health.register("broker", lambda: problems["broker"])
    health.register("database", lambda: problems["database"])
    async with health.serving(HOST, port):
        assert (await asked(port, "/readyz"))[0] == 200
        problems.update(broker="out of reach", database="schema is behind")
        status, _, body = await asked(port, "/readyz")
    assert status == 503
    assert json.loads(body)["failing"] == problems


async def test_a_check_that_breaks_is_a_failing_check(port: int) -> None:
    health = Health("orchestrator")
    health.register("broker", lambda: str(1 / 0))
    async with health.serving(HOST, port):
        status, _, body = await asked(port, "/readyz")
    assert status == 503
    assert json.loads(body)["failing"] == {"broker": "the check itself failed: ZeroDivisionError"}


async def test_metrics_are_those_of_the_registry(port: int) -> None:
    metrics = Metrics()
    metrics.observe(BatchCommitted(size=3))
    async with Health("orchestrator", metrics.registry).serving(HOST, port):
        status, headers, body = await asked(port, "/metrics?name=ignored")
        _, openmetrics, _ = await asked(port, "/metrics", Accept="application/openmetrics-text")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"saga_batch_size_sum 3.0" in body
    assert openmetrics["Content-Type"].startswith("application/openmetrics-text")


async def test_a_head_request_gets_the_headers_alone(port: int) -> None:
    async with Health("orchestrator").serving(HOST, port):
        status, headers, body = await asked(port, "/livez", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(method: str, port: int) -> None:
    async with Health("orchestrator").serving(HOST, port):
        status, headers, body = await asked(port, "/livez", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert json.loads(body) == {"problem": "only GET and HEAD"}


@pytest.mark.parametrize("path", ["/", "/livez/", "/../etc/passwd", "/metrics/x"])
async def test_other_paths_are_not_found(path: str, port: int) -> None:
    async with Health("orchestrator").serving(HOST, port):
        status, _, body = await asked(port, path)
    assert status == 404
    assert "/readyz" in json.loads(body)["problem"]


async def test_port_0_means_no_server() -> None:
    async with Health("orchestrator").serving(HOST, 0):
        names = {task.get_name() for task in asyncio.all_tasks()}
    assert "health" not in names


async def test_a_port_in_use_is_a_clear_error(port: int) -> None:
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        with pytest.raises(
            ConfigurationError, match=f"port {port} on {HOST} is in use; set SAGA_HTTP_PORT"
        ):
            async with Health("orchestrator").serving(HOST, port):
                pass


async def test_a_host_that_is_not_ours_is_a_clear_error(port: int) -> None:
    with pytest.raises(ConfigurationError, match="SAGA_HTTP_HOST"):
        async with Health("orchestrator").serving("192.0.2.1", port):
            pass


async def test_the_port_is_free_again_afterwards(port: int) -> None:
    for _ in range(2):
        async with Health("orchestrator").serving(HOST, port):
            assert (await asked(port, "/livez"))[0] == 200


async def test_ipv6_is_served(port: int) -> None:
    async with Health("orchestrator").serving("::1", port):
        with socket.create_connection(("::1", port), timeout=5) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            answer = await asyncio.to_thread(connection.recv, 100)
    assert answer.startswith(b"HTTP/1.0 200")


async def test_a_hung_event_loop_is_not_alive_but_still_shows_metrics(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_HANGS_AFTER", 0.2)
    metrics = Metrics()
    async with Health("orchestrator", metrics.registry).serving(HOST, port):
        await asyncio.sleep(0)  # the first tick
        deadline = time.monotonic() + 5
        status = 200
        while status == 200 and time.monotonic() < deadline:
            status, _, body = ask(port, "/livez")  # blocks this loop
        assert status == 503
        assert json.loads(body)["problem"].startswith("the event loop has not turned for")
        assert ask(port, "/metrics")[0] == 200


async def test_clients_that_send_nothing_do_not_keep_others_waiting(port: int) -> None:
    async with Health("orchestrator").serving(HOST, port):
        began = time.monotonic()
        with silent_clients(port, 2 * http_server._MAX_CONNECTIONS):
            status, _, _ = await asked(port, "/livez")
            assert status == 200
            assert time.monotonic() - began < 2
            await becomes_true(lambda: serving_threads() <= http_server._MAX_CONNECTIONS + 1)


async def test_a_client_that_dribbles_is_hung_up_on(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_PATIENCE", 0.3)
    async with Health("orchestrator").serving(HOST, port):
        with socket.create_connection((HOST, port), timeout=5) as client:
            assert await asyncio.to_thread(dribble_until_closed, client) < 3


async def test_garbage_is_answered_with_an_error(port: int) -> None:
    async with Health("orchestrator").serving(HOST, port):
        for garbage in (
            b"\x16\x03\x01\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"BREW /livez HTTP/1.0\r\n\r\n",
        ):
            with socket.create_connection((HOST, port), timeout=5) as client:
                client.sendall(garbage)
                answer = await asyncio.to_thread(client.makefile("rb").read)
                assert b'"problem"' in answer
        assert (await asked(port, "/livez"))[0] == 200


async def test_without_metrics_the_page_is_empty(port: int) -> None:
    async with Health("orchestrator", CollectorRegistry()).serving(HOST, port):
        assert (await asked(port, "/metrics"))[2] == b""


async def becomes_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 3
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def serving_threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


@contextmanager
def silent_clients(port: int, count: int) -> Iterator[None]:
    clients = [socket.create_connection((HOST, port), timeout=5) for _ in range(count)]
    try:
        yield
    finally:
        for client in clients:
            client.close()


def dribble_until_closed(client: socket.socket) -> float:
    """Send a byte now and then; the seconds until the server has had enough."""
    began = time.monotonic()
    client.settimeout(0.05)
    while time.monotonic() - began < 5:
        try:
            client.sendall(b"G")
            if client.recv(100) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def test_a_server_thread_does_not_keep_a_process_alive(port: int) -> None:
    code = (
        "import asyncio; from chassis.health import Health\n"
        "async def main():\n"
        f"    await Health('x').serving('{HOST}', {port}).__aenter__()\n"
        "asyncio.run(main())"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=10, check=False).returncode == 0
