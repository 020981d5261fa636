"""The participant in Node.js keeps the contract of the order saga; a broken one does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product.installation import Installation, Place, Said, installed, saga, wait_for
from tests.product.node import INSTALL_SECONDS, PROGRAM

SAGAS = "orchestrator.examples.order_fulfillment"
PARTICIPANTS = "participants.examples.order_fulfillment"
SERVICE = "NotificationService"

pytestmark = [
    pytest.mark.node,
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(INSTALL_SECONDS + 120),
]

# What goes wrong in the program, and the field that is named.
FAULTS = {
    "another name in the result": (
        "confirmation_id: `C-",
        "number: `C-",
        "body.result.confirmation_id",
    ),
    "no command id": (
        '"saga-command-id": command.commandId, ',
        "",
        "headers.saga-command-id",
    ),
    "attempt as a text": (
        '"saga-attempt": command.attempt }',
        '"saga-attempt": `${command.attempt}` }',
        "headers.saga-attempt",
    ),
    "not persistent": ("deliveryMode: 2", "deliveryMode: 1", "delivery_mode"),
    "another step's name": (
        "step_name: command.stepName, ...said",
        "step_name: 'x', ...said",
        "body.step_name",
    ),
    "a message id for ever": ("messageId,\n", 'messageId: "m-1",\n', "message_id"),
    "no tombstone": (
        '"compensated", "tombstone"].includes(row?.state)) return TOO_LATE',
        '"compensated"].includes(row?.state)) return TOO_LATE',
        "type",
    ),
}


@pytest.fixture
def installation(place: Place, tmp_path: Path) -> Iterator[Installation]:
    with installed(place, tmp_path) as found:
        written = saga(found, "contract", SAGAS, "--participants", PARTICIPANTS, "-o", "contract")
        assert written.code == 0, written.err
        yield found


def _verified(installation: Installation, program: Path) -> Said:
    node = installation.foreign("node", "node", str(program))
    node.start()
    wait_for(lambda: f"{SERVICE} consumes" in node.log, "the service consumes")
    contract = installation.folder / "contract" / "asyncapi.json"
    return saga(
        installation, "participants", "verify", "--running", SERVICE, "--contract", str(contract)
    )


def test_the_node_example_keeps_the_contract(installation: Installation, node_folder: Path) -> None:
    said = _verified(installation, node_folder / PROGRAM)
    assert said.code == 0, said.out + said.err
    assert "the contract is kept" in said.out
    assert said.out.count("✓") == 10


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_one_is_refused_with_the_field_named(
    fault: str, installation: Installation, node_folder: Path
) -> None:
    right, wrong, field = FAULTS[fault]
    text = (node_folder / PROGRAM).read_text()
    assert text.count(right) == 1
    broken = node_folder / f"broken-{list(FAULTS).index(fault)}.mjs"  # beside its packages
    broken.write_text(text.replace(right, wrong))
    said = _verified(installation, broken)
    assert said.code == 3, said.out + said.err
    assert any(line.startswith("✗") and f": {field} " in line for line in said.out.splitlines())
