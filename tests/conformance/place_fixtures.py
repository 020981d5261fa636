"""Where the servers of services under test are: in memory, in a file, or real ones."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from messaging.topology import Names
from tests.conformance.inbox_fixtures import inbox_url_of

KINDS = [
    ("memory", "memory"),
    ("memory", "sqlite"),
    pytest.param(("rabbit", "postgres"), marks=[pytest.mark.rabbitmq, pytest.mark.postgres]),
]
ON_SQLITE = pytest.mark.parametrize("places", KINDS[1:2], indirect=True, ids=["sqlite"])


@dataclass(frozen=True)
class Places:
    names: Names
    inbox_url: str | None
    amqp_url: str | None  # None: a broker in memory


def places_of(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    """What a fixture named `places`, over KINDS, hands out."""
    broker, inbox = request.param
    inbox_url = inbox_url_of(inbox, request, tmp_path)
    if broker == "memory":
        return Places(Names("t"), inbox_url, None)
    return Places(request.getfixturevalue("names"), inbox_url, request.getfixturevalue("amqp_url"))
