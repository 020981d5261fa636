"""Every bad command to the participant in Node.js: each leaves a trace, and good ones go on."""

import asyncio
from pathlib import Path

import pytest

from tests.product import audit
from tests.product.customers import start_by_client
from tests.product.installation import Place, installed, wait_for
from tests.product.node import INSTALL_SECONDS, PROGRAM
from tests.product.nonsense import (
    Bad,
    Malformed,
    bad_commands,
    malformed_commands,
    publish_bad,
    publish_malformed,
)
from tests.product.orders import EAGER, Asked, order
from tests.product.poison_storm import reasons_of_letters, told_if_it_fails

SEND = "NotificationService.SendOrderConfirmation"
SAGAS = 20
LARGEST = 32 * 1024 * 1024

pytestmark = [
    pytest.mark.node,
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(INSTALL_SECONDS + 120),
]


def test_no_bad_command_stops_the_node_participant(
    place: Place, node_folder: Path, tmp_path: Path
) -> None:
    """It checks less than ours. What it takes it answers, and nobody knows the saga of that."""
    bad, malformed = bad_commands(place, SEND, largest=LARGEST), malformed_commands(SEND)
    good = [
        Asked(saga_id=f"good-{number}", saga_type=EAGER, data=order(number), ends="completed")
        for number in range(SAGAS)
    ]
    with installed(place, tmp_path) as installation:
        installation.orchestrator("trial_orders")
        installation.participants("inventory", "payment", "shipping")
        installation.dlq_worker()
        node = installation.foreign("node", "node", str(node_folder / PROGRAM))
        node.start()
        installation.start()
        pid = node.pid
        asyncio.run(publish_bad(place, bad))
        publish_malformed(place, malformed)
        asyncio.run(start_by_client(place, good))

        def missing() -> list[str]:
            reasons = reasons_of_letters(place)
            return [
                f"{each.id} ({each.name})"
                for each in (*bad, *malformed)
                if known_as(each) not in reasons
            ]

        with told_if_it_fails(missing):
            wait_for(lambda: not (missing() and node.is_running), "each has left a trace")
        assert (node.exit_code, node.pid, missing()) == (None, pid, [])
        states = audit.Progress(place).wait_until_ended([each.saga_id for each in good], seconds=60)
        assert node.terminate() == 0
    assert states == {each.saga_id: each.ends for each in good}
    reasons = reasons_of_letters(place)
    assert {name for each in bad if each.reason for name in reasons[each.id]} >= SET_ASIDE


def known_as(each: Bad | Malformed) -> str:
    """The saga that it is about to a program that takes the last of two equal keys."""
    return "corpus-2" if each.name == "commands: the saga id twice" else each.id


# What every participant has to refuse, in whatever language.
SET_ASIDE = {"bad_json", "not_an_object", "bad_field", "bad_header", "too_large", "unknown_command"}
