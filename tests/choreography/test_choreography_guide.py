"""What the guide on choreography says is so."""

import re
from pathlib import Path

import pytest

from messaging.events import HEADERS, MAX_HOPS
from messaging.topology import Names, listening
from participants import Choreography
from participants.choreography.rules import State
from participants.choreography.service import SWEEP_AFTER
from participants.inbox import RETENTION
from participants.run import load_participants

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "choreography.md"
TEXT = GUIDE.read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_python_runs(number: int) -> None:
    scope: dict[str, object] = {}
    exec(BLOCKS[number], scope)  # noqa: S102  # our own page
    assert any(isinstance(each, Choreography) for each in scope.values())


def test_the_first_block_is_a_service() -> None:
    scope: dict[str, object] = {}
    exec(BLOCKS[0], scope)  # noqa: S102  # our own page
    payment = scope["payment"]
    assert isinstance(payment, Choreography)
    assert payment.reactions["InventoryReserved"].fails == "PaymentFailed"
    assert payment.reactions["ShipmentFailed"].undoes == "InventoryReserved"


def test_every_state_and_every_header_is_explained() -> None:
    assert [state for state in State if f"| `{state}` |" not in TEXT] == []
    assert [name for name in HEADERS if f"| `{name}` |" not in TEXT] == []


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"more than {MAX_HOPS} are refused" in TEXT
    assert f"owed for {SWEEP_AFTER.seconds} seconds" in TEXT
    assert f"Rows are kept for {RETENTION.days} days" in TEXT


def test_a_service_has_its_queue_bound_to_what_it_reacts_to_and_to_itself() -> None:
    topology = listening(Names(), {"PaymentService": ["ShipmentFailed", "InventoryReserved"]})
    [queue] = topology.queues
    assert queue.name == "saga.choreography.PaymentService"
    assert queue.arguments["x-dead-letter-routing-key"] == queue.name
    assert queue.arguments["x-queue-type"] == "quorum"
    assert [(each.exchange, each.routing_key) for each in topology.bindings] == [
        ("saga.events", "InventoryReserved"),
        ("saga.events", "ShipmentFailed"),
        ("saga.events", queue.name),
    ]


def test_a_module_is_searched_for_choreographies_as_for_participants() -> None:
    found = load_participants(["participants.examples.order_choreography"])
    assert sorted(each.name for each in found) == [
        "InventoryService",
        "OrderService",
        "PaymentService",
        "ShippingService",
    ]
