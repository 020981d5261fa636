"""What the tests of the store share beyond the conformance suite's fixtures."""

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def closed_port_url() -> Iterator[str]:
    """A database on a port that nobody listens to; it stays taken while the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"postgresql://someone:hunter2@127.0.0.1:{taken.getsockname()[1]}/nothing"
