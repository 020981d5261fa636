"""What the guides say about participants is so."""

import json
import re
from pathlib import Path

from messaging.topology import Names, installation
from participants import Participant
from participants.guard import State

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
WIRING = (GUIDES / "wiring-a-participant.md").read_text()
OTHERS = (GUIDES / "participants-in-other-languages.md").read_text()
NODE = GUIDES.parent / "examples" / "node"


def test_the_first_example_is_a_participant() -> None:
    block = re.search(r"```python\n(.*?)```", WIRING, re.DOTALL)
    assert block is not None
    scope: dict[str, object] = {}
    exec(block[1], scope)  # noqa: S102  # our own page
    payment = scope["payment"]
    assert isinstance(payment, Participant)
    assert list(payment.handlers) == ["ProcessPayment", "RefundPayment"]
    assert len(payment.preparations) == 1


def test_every_state_of_the_guard_is_explained() -> None:
    table = WIRING[WIRING.index("| state |") :]
    assert [state for state in State if f"`{state}`" not in table] == []


def test_the_queue_is_declared_with_our_arguments_everywhere() -> None:
    names = Names("saga")
    queue = next(
        queue
        for queue in installation(names, ["NotificationService"]).queues
        if queue.name == names.commands_for("NotificationService")
    )
    program = (NODE / "notification-service.mjs").read_text()
    for key, value in queue.arguments.items():
        told = str(value).replace("NotificationService", "<Participant>")
        assert f"{key}={told}" in OTHERS
        assert f'"{key}": ' in program


def test_the_node_example_pins_its_packages() -> None:
    package = json.loads((NODE / "package.json").read_text())
    assert all(re.fullmatch(r"[\d.]+", version) for version in package["dependencies"].values())


def test_the_node_example_knows_every_state_of_the_guard() -> None:
    program = (NODE / "notification-service.mjs").read_text()
    declared = re.search(r"state IN\s*\((.*?)\)", program, re.DOTALL)
    assert declared is not None
    assert set(re.findall(r"'(\w+)'", declared[1])) == {state.value for state in State}
