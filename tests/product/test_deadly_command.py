"""A command that kills its service every time ends as a dead letter, and its saga is undone."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.product import audit
from tests.product.customers import start_by_client
from tests.product.installation import Daemon, Installation, Place, installed
from tests.product.orders import ORDER, Asked, order

DEADLY = "deadly"
SECONDS = 240.0

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.timeout(SECONDS + 60),
]


def test_a_command_that_kills_its_service_is_given_up_and_its_saga_undone(
    place: Place, tmp_path: Path
) -> None:
    asked = [_asked(f"order-{number}") for number in range(5)]
    with installed(place, tmp_path) as installation:
        installation.orchestrator("orchestrator.examples.order_fulfillment")
        installation.participants("inventory", "payment", "shipping")
        installation.dlq_worker(SAGA_REPLAY_BASE="1s")
        service = installation.service("deadly_service")
        installation.start()
        asyncio.run(start_by_client(place, [*asked[:3], _asked(DEADLY, deadly=True), *asked[3:]]))
        deaths = _restart_until_it_has_ended(installation, service)
        ids = [each.saga_id for each in asked]
        states = audit.Progress(place).wait_until_ended([*ids, DEADLY], seconds=60)
    assert deaths == 21, "delivered once, and twenty times more"
    assert states[DEADLY] == "failed"
    [letter] = [row for row in audit.letters(place) if row["saga_id"] == DEADLY]
    assert (letter["reason"], letter["step_name"]) == ("delivery_limit", "send_confirmation")
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert audit.history_gaps(place) == []
    assert audit.unclosed(place) == []


def _asked(saga_id: str, **more: object) -> Asked:
    return Asked(saga_id=saga_id, saga_type=ORDER, data=order(1, **more), ends=None)


def _restart_until_it_has_ended(installation: Installation, service: Daemon) -> int:
    """As systemd would: how often it had to."""
    deaths = 0
    deadline = time.monotonic() + SECONDS
    while audit.states(installation.place).get(DEADLY) not in audit.FINAL:
        assert time.monotonic() < deadline, f"the saga has not ended after {deaths} deaths"
        if not service.is_running:
            deaths += 1
            service.start()
        time.sleep(0.05)
    return deaths
