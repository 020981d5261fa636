"""Daemons under test: their ports stay theirs, and what becomes of them is told."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.network import free_ports

from tests.product import installation as installations
from tests.product.installation import Daemon, Place, installed

PROGRAM = """
import os, time
from chassis.http_server import HttpServer, json_answer
answers = {"/readyz": lambda accept: json_answer(200, {"pid": os.getpid()})}
with HttpServer("127.0.0.1", int(os.environ["SAGA_HTTP_PORT"]), answers).running():
    time.sleep(60)
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon("listener", [sys.executable, "-c", PROGRAM], tmp_path, {})
    yield daemon
    daemon.close()


@pytest.fixture
def nowhere() -> Place:
    """Where no server answers."""
    broker, database = free_ports(2)
    url = f"postgresql://postgres@127.0.0.1:{database}/postgres"
    amqp_url = f"amqp://127.0.0.1:{broker}/"
    return Place(amqp_url=amqp_url, saga_database=url, shop_database=url, namespace="nowhere")


def test_nobody_else_gets_the_port_of_a_daemon_that_does_not_run(daemon: Daemon) -> None:
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", daemon.port))
    daemon.start()
    daemon.wait_ready()
    daemon.kill()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", daemon.port))


def test_a_daemon_listens_on_its_port_again_after_a_kill(daemon: Daemon) -> None:
    daemon.start()
    daemon.wait_ready()
    first = daemon.asked("/readyz")
    daemon.kill_and_restart()
    daemon.wait_ready()
    assert daemon.asked("/readyz") != first


def test_whoever_waits_for_daemons_hears_that_one_has_ended(
    nowhere: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installations, "SAGA", Path("/bin/false"))
    with installed(nowhere, tmp_path) as installation:
        recorder = installation.recorder()
        recorder.start()
        recorder.ended()
        with pytest.raises(AssertionError, match="recorder has ended with exit code 1"):
            installation.must_run()


def test_a_story_that_fails_tells_how_its_installation_stood(
    nowhere: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installations, "SAGA", Path("/bin/echo"))
    with pytest.raises(AssertionError, match="it stood still") as caught:
        _stand_still(nowhere, tmp_path)
    [told] = caught.value.__notes__
    assert "recorder has ended with exit code 0" in told
    assert "dlq-worker was not started" in told
    assert "--- the log of recorder ends:\nchoreography run\n" in told
    assert "--- saga database:\nnot to be had: OperationalError" in told


def _stand_still(place: Place, folder: Path) -> None:
    with installed(place, folder) as installation:
        recorder = installation.recorder()
        installation.dlq_worker()
        recorder.start()
        recorder.ended()
        raise AssertionError("it stood still")
