"""The participant in Node.js completes and compensates sagas beside those in Python."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from tests.product import audit
from tests.product.customers import start_all
from tests.product.installation import Place, installed
from tests.product.node import INSTALL_SECONDS
from tests.product.orders import EAGER, Asked, order

SAGAS = 20

pytestmark = [
    pytest.mark.node,
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(INSTALL_SECONDS + 120),
]


def test_a_node_participant_completes_and_compensates_sagas_beside_python_ones(
    place: Place, node_folder: Path, tmp_path: Path
) -> None:
    asked = [_asked(number) for number in range(SAGAS)]
    with installed(place, tmp_path) as installation:
        installation.orchestrator("trial_orders")
        installation.participants("inventory", "payment", "shipping")
        installation.dlq_worker()
        node = installation.foreign("node", "node", str(node_folder / "notification-service.mjs"))
        node.start()
        installation.start()
        asyncio.run(start_all(place, asked))
        ids = [each.saga_id for each in asked]
        states = audit.Progress(place).wait_until_ended(ids, seconds=60)
        assert node.terminate() == 0
    assert states == {each.saga_id: each.ends for each in asked}
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert audit.history_gaps(place) == []
    assert audit.letters(place) == []
    assert _notices(place) == {"confirmation": SAGAS * 3 // 4, "cancellation": SAGAS // 2}


def _asked(number: int) -> Asked:
    """One completes; Node says no; Node undoes; Node undoes after it has failed to, twice."""
    trial: dict[str, object] = {}
    match number % 4:
        case 1:
            trial = {"fail_at": "send_confirmation"}
        case 2:
            trial = {"fail_at": "create_shipment"}
        case 3:
            trial = {"fail_at": "create_shipment", "fail_compensation": {"send_confirmation": 2}}
    ends = "failed" if trial else "completed"
    data = order(number, **trial)
    return Asked(saga_id=f"order-{number}", saga_type=EAGER, data=data, ends=ends)


def _notices(place: Place) -> dict[str, int]:
    with psycopg.connect(place.shop_database) as connection:
        query = "SELECT kind, count(*) FROM notifications GROUP BY kind"
        return dict(connection.execute(query).fetchall())
