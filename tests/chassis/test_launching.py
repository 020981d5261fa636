"""A whole program: settings, log, health and drain in one process of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

PROGRAM = """
import sys
from chassis.health import Health
from chassis.launch import launch
from chassis.settings import OrchestratorSettings

async def main(settings, stopping):
    health = Health("trial")
    health.register("lifecycle", lambda: "stopping" if stopping.is_set() else None)
    async with health.serving(settings.http_host, settings.http_port):
        print("up", flush=True)
        await stopping.wait()
        print("draining", flush=True)
        sys.stdin.readline()

sys.exit(launch(main, OrchestratorSettings, name="trial", http_host="127.0.0.1"))
"""


def started(directory: Path, **settings: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAGA_")}
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**kept, "PYTHONPATH": root, **settings},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def readiness(port: int) -> tuple[int, dict[str, str]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, json.loads(response.read())["failing"]


def test_a_program_is_ready_then_drains_and_is_not_ready_meanwhile(tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, SAGA_HTTP_PORT=str(port)) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        assert readiness(port) == (200, {})
        program.send_signal(signal.SIGTERM)
        assert program.stdout.readline() == "draining\n"
        assert readiness(port) == (503, {"lifecycle": "stopping"})
        program.communicate("\n", timeout=10)
    assert program.returncode == 0


def test_bad_settings_end_the_program_with_78_and_one_record_each(tmp_path: Path) -> None:
    with started(
        tmp_path, SAGA_HTTP_PORT="high", SAGA_NAMESPACE="a b", SAGA_TOPLOGY="x"
    ) as program:
        _, errors = program.communicate(timeout=10)
    assert program.returncode == 78
    events = [json.loads(line)["event"] for line in errors.splitlines()]
    assert events[0].endswith("did you mean SAGA_TOPOLOGY?")
    assert events[1].startswith("ConfigurationError: SAGA_NAMESPACE=a b: must match")
    assert events[2].startswith("ConfigurationError: SAGA_HTTP_PORT=high: must be a valid integer")


def test_a_port_in_use_ends_the_program_with_78(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with started(tmp_path, SAGA_HTTP_PORT=str(port)) as program:
            _, errors = program.communicate(timeout=10)
    assert program.returncode == 78
    assert f"port {port} on 127.0.0.1 is in use" in errors
