"""SIGTERM in the middle of work: every daemon ends well and in time, and nothing is lost."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers.postgres import PrivatePostgres
from servers.private import PrivateServer
from servers.rabbit import PrivateRabbit

from tests.product import audit
from tests.product.customers import start_all
from tests.product.installation import DRAIN_SECONDS, Installation, Place, installed, wait_for
from tests.product.orders import PROMPT, STEPS, Asked, order

DRAINED = {"orchestrator": 0, "participants": 0, "dlq-worker": 0}
AT_WORK = 60  # transitions: the sagas are somewhere in the middle

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


def test_daemons_stopped_at_work_end_well_and_lose_nothing(place: Place, tmp_path: Path) -> None:
    with at_work(place, tmp_path) as installation:
        assert stopped(installation) == DRAINED
        all_is_well_after_a_new_start(installation)


@pytest.mark.full
def test_daemons_stopped_while_the_broker_is_frozen_end_in_time(
    frail_place: Place, rabbit: PrivateRabbit, tmp_path: Path
) -> None:
    stop_during(rabbit.pause, rabbit, frail_place, tmp_path)


@pytest.mark.full
def test_daemons_stopped_while_the_broker_is_gone_end_in_time(
    frail_place: Place, rabbit: PrivateRabbit, tmp_path: Path
) -> None:
    def power_cut() -> None:
        rabbit.sync_declarations()
        rabbit.kill()

    stop_during(power_cut, rabbit, frail_place, tmp_path)


def test_daemons_stopped_while_the_database_is_gone_end_in_time(
    frail_place: Place, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    stop_during(postgres.kill, postgres, frail_place, tmp_path)


def stop_during(
    outage: Callable[[], None], server: PrivateServer, place: Place, folder: Path
) -> None:
    """A server fails while all daemons are at work, and then they are told to stop."""
    with at_work(place, folder) as installation:
        outage()
        codes = stopped(installation)
        server.resume()
        server.start()
        assert codes == DRAINED
        all_is_well_after_a_new_start(installation)


@contextmanager
def at_work(place: Place, folder: Path) -> Iterator[Installation]:
    """An installation with sagas under way, a third of which will fail."""
    with installed(place, folder) as installation:
        installation.orchestrator("trial_orders")
        installation.participants()
        installation.dlq_worker(SAGA_REPLAY_BASE="1s")
        installation.start()
        asyncio.run(start_all(place, list(_orders())))
        wait_for(lambda: audit.transitions(place) >= AT_WORK, "the sagas are under way")
        yield installation


def _orders() -> Iterator[Asked]:
    for number in range(30):
        fails = number % 3 == 2
        step = STEPS[number % 4]
        data = order(number, delay={step: 0.5}, **({"fail_at": STEPS[3]} if fails else {}))
        ends = "failed" if fails else "completed"
        yield Asked(saga_id=f"order-{number}", saga_type=PROMPT, data=data, ends=ends)


def stopped(installation: Installation) -> dict[str, int]:
    """Everybody is told at once; the exit codes."""
    for daemon in installation.daemons:
        daemon.send(signal.SIGTERM)
    deadline = time.monotonic() + DRAIN_SECONDS
    return {
        daemon.name: daemon.ended(seconds=max(0.1, deadline - time.monotonic()))
        for daemon in installation.daemons
    }


def all_is_well_after_a_new_start(installation: Installation) -> None:
    place = installation.place
    wanted = {each.saga_id: each.ends for each in _orders()}
    installation.start()
    states = audit.Progress(place).wait_until_ended(list(wanted), seconds=60)
    assert states == wanted
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert audit.history_gaps(place) == []
    assert audit.broken_chains(place) == []
    assert audit.unclosed(place) == []
    for daemon in installation.daemons:
        assert "Traceback" not in daemon.log, daemon.name
