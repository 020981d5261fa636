"""A refund that always fails: tried with growing pauses, a person called, resolved, undone."""

import asyncio
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from tests.dlq_worker.http_receiver import Receiver, receiving
from tests.product import audit
from tests.product.customers import start_by_client
from tests.product.installation import Installation, Place, installed, saga, wait_for
from tests.product.orders import ORDER, PROMPT, Asked, order
from tests.product.scale import Scale

OPEN = "saga_manual_interventions_open"
SAGA = "stubborn"
REPLAYS = 2
REFUSED = 4  # the exit code of a command that is not allowed now

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


def test_a_refund_that_always_fails_ends_with_a_person(
    place: Place, tmp_path: Path, scale: Scale
) -> None:
    saga_type = ORDER if scale.is_full else PROMPT  # pauses from 2 s, or from 0.1 s
    trial = {"fail_at": "create_shipment", "fail_compensation": {"process_payment": -1}}
    asked = Asked(saga_id=SAGA, saga_type=saga_type, data=order(1, **trial), ends="failed")
    with receiving() as receiver, installed(place, tmp_path) as installation:
        _start(installation, receiver)
        asyncio.run(start_by_client(place, [asked]))
        _retries_end_in_one_dead_letter(place)
        _replays_end_in_one_alert(installation, receiver)
        _a_person_resolves_it(installation)
        ended = audit.Progress(place).wait_until_ended([SAGA], seconds=30)
        assert ended == {SAGA: "failed"}
        _nothing_is_open_any_more(installation, receiver)


def _start(installation: Installation, receiver: Receiver) -> None:
    installation.orchestrator("trial_orders", "orchestrator.examples.order_fulfillment")
    installation.participants()
    installation.dlq_worker(
        SAGA_REPLAY_LIMIT=str(REPLAYS), SAGA_REPLAY_BASE="1s", SAGA_ALERT_WEBHOOK_URL=receiver.url
    )
    installation.start()


def _retries_end_in_one_dead_letter(place: Place) -> None:
    wait_for(lambda: len(audit.letters(place)) > 0, "the refund is a dead letter")
    gaps = _gaps_between_attempts(place)
    assert len(gaps) == 4, "five attempts"
    assert all(later > earlier * 1.3 for earlier, later in pairwise(gaps)), gaps
    [letter] = audit.letters(place)
    assert (letter["reason"], letter["saga_id"], letter["step_name"]) == (
        "compensation_exhausted",
        SAGA,
        "process_payment",
    )


def _gaps_between_attempts(place: Place) -> list[float]:
    """Seconds between the sending of one attempt and that of the next, before any replay."""
    query = """
        SELECT min(at) FROM saga_history
        WHERE saga_id = %s AND step = 'process_payment' AND after = 'compensating' AND attempt <= 5
          AND (before <> 'compensating' OR note LIKE 'sent again%%')
        GROUP BY attempt ORDER BY attempt
    """
    with psycopg.connect(place.saga_database) as connection:
        times = [row[0] for row in connection.execute(query, [SAGA])]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(times)]


def _replays_end_in_one_alert(installation: Installation, receiver: Receiver) -> None:
    worker = installation.daemon("dlq-worker")
    wait_for(lambda: len(receiver.posts) > 0, "somebody is called")
    wait_for(lambda: worker.metric(OPEN) == 1, f"{OPEN} is 1")
    [letter] = audit.letters(installation.place)
    assert letter["replays"] == REPLAYS
    [post] = receiver.posts
    told = post.json
    assert (told["status"], told["saga_id"], told["step_name"]) == (
        "firing",
        SAGA,
        "process_payment",
    )
    assert audit.states(installation.place) == {SAGA: "compensating"}


def _a_person_resolves_it(installation: Installation) -> None:
    """Inventory waited for that: undoing out of order can be worse than waiting."""
    books = asyncio.run(audit.books(installation.place))
    assert books.accounts[SAGA].left == {"reserve_inventory", "process_payment"}
    [letter] = audit.letters(installation.place)
    command = (
        "dlq",
        "resolve",
        str(letter["id"]),
        "--reason",
        "refunded by hand",
        "--by",
        "cashier",
    )
    first, again = saga(installation, *command), saga(installation, *command)
    assert first.code == 0, first
    assert again.code == REFUSED, again
    assert "resolved already, by cashier: refunded by hand" in again.err


def _nothing_is_open_any_more(installation: Installation, receiver: Receiver) -> None:
    place, worker = installation.place, installation.daemon("dlq-worker")
    wait_for(lambda: worker.metric(OPEN) == 0, f"{OPEN} is 0")
    wait_for(lambda: len(receiver.posts) == 2, "whoever was called is told that it is over")
    assert [post.json["status"] for post in receiver.posts] == ["firing", "resolved"]
    assert audit.unclosed(place) == []
    books = asyncio.run(audit.books(place))
    assert books.accounts[SAGA].left == {"process_payment"}, "paid back outside the books"
    assert audit.history_gaps(place) == []
