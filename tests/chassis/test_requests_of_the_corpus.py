"""Bad HTTP as data: each request is answered with an error or hung up on, and nobody waits."""

import socket
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from servers.network import free_ports

from chassis.http_server import HttpServer, json_answer
from tests.corpus.files import bytes_of, load

CORPUS = load("requests")
SECONDS = 4.0  # less than a whole connection is given


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    [port] = free_ports(1)
    answers = {"/livez": lambda _: json_answer(200, {"is": "alive"})}
    with HttpServer("127.0.0.1", port, answers).running():
        yield port


def status_of(port: int, request: bytes) -> int:
    """What it is answered with; 0 if it is hung up on."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").readline()
        except OSError:  # it has hung up while we spoke
            return 0
    words = answer.split()
    return int(words[1]) if answer.startswith(b"HTTP/") and len(words) > 1 else 0


@pytest.mark.parametrize("spec", CORPUS, ids=lambda spec: spec["name"])
def test_a_bad_request_harms_nobody(spec: dict[str, Any], port: int) -> None:
    began = time.monotonic()
    assert status_of(port, bytes_of(spec["request"])) in spec["expected"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=SECONDS) as good:
        assert good.status == 200
    assert time.monotonic() - began < SECONDS
