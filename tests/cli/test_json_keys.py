"""What commands print in JSON is what the reference page says, key for key."""

import re
from datetime import timedelta

import pytest
from cli_stories import REFUND_EXHAUSTED, letter_of, stored
from command_lines import Saga, put

from messaging.events import Event, SagaContext
from orchestrator.cli.json_keys import JSON_KEYS, LISTED
from orchestrator.store.database import DatabaseStore
from orchestrator.store.event_log import Heard, record

DRILL = "orchestrator.testing.drill.examples.bank_transfer"
ORDERS = "orchestrator.examples.order_fulfillment"
LINES = {
    "drill": ("drill", DRILL, "--step", "debit", "--fault", "fails"),
    "participants verify": (
        *("participants", "verify", "participants.examples.order_fulfillment"),
        *("--sagas", ORDERS),
    ),
    "definitions list": ("definitions", "list", ORDERS),
    "definitions show": ("definitions", "show", ORDERS),
    "definitions validate": ("definitions", "validate", ORDERS),
    "definitions compat": ("definitions", "compat", ORDERS),
    "start": ("start", "Order", "--data", "{}"),
    "wait": ("wait", "order-42", "--timeout", "0"),
    "cancel": ("cancel", "order-42", "--reason", "x"),
    "list": ("list",),
    "show": ("show", "order-42"),
    "reconcile": ("reconcile",),
    "choreography list": ("choreography", "list"),
    "choreography show": ("choreography", "show", "order-42"),
    "choreography replay": ("choreography", "replay", "order-42"),
    "dlq list": ("dlq", "list"),
    "dlq groups": ("dlq", "groups"),
    "dlq show": ("dlq", "show", "1"),
    "dlq ack": ("dlq", "ack", "1"),
    "dlq retry": ("dlq", "retry", "1"),
    "dlq resolve": ("dlq", "resolve", "1", "--reason", "x"),
    "db upgrade": ("db", "upgrade"),
    "db current": ("db", "current"),
    "db purge": ("db", "purge", "--dry-run"),
    "topology show": ("topology", "show"),
    "doctor": ("doctor",),
}
OF_A_BROKER = {"topology declare", "topology verify"}  # tests/cli/test_broker_commands.py
SAME_AS_OTHERS = {"dlq discard"}
ONLY_WITH_WAIT = {"has_ended"}


@pytest.fixture
def _trouble(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A saga with a letter and an alert, so that there is something in every list."""

    async def put_trouble(store: DatabaseStore) -> int:
        saga = await stored(store, "order-42", REFUND_EXHAUSTED)
        async with store.transaction() as transaction:
            placed = Event(type="Placed", event_id="e-1", saga=SagaContext(saga_id="order-42"))
            heard = Heard(event=placed, headers={}, body=b'{"saga_id": "order-42"}')
            await record(transaction, heard, timedelta(minutes=1))
        return await letter_of(store, saga, is_alerted=True)

    monkeypatch.setenv("SAGA_AMQP_URL", "memory://")
    assert put(database, put_trouble) == 1


def test_every_command_that_prints_json_is_held_to_its_page() -> None:
    assert set(LINES) | OF_A_BROKER | SAME_AS_OTHERS == set(JSON_KEYS)


@pytest.mark.usefixtures("_trouble")
@pytest.mark.parametrize("path", LINES)
def test_the_keys_are_those_of_the_page(path: str, saga: Saga) -> None:
    value = saga(*LINES[path], "-o", "json").value
    assert isinstance(value, list) == (path in LISTED)
    shown = value[0] if path in LISTED else value
    expected = set(JSON_KEYS[path]) - (ONLY_WITH_WAIT if path == "start" else set())
    assert set(shown) == expected


@pytest.mark.usefixtures("_trouble")
def test_the_keys_inside_a_story_are_named_as_well(saga: Saga) -> None:
    replayed = saga("choreography", "replay", "order-42", "-o", "json").value
    page = saga("choreography", "show", "order-42", "-o", "json").value
    for part in ("story", "replays"):
        named = set(re.findall(r"`(\w+)`", JSON_KEYS["choreography show"][part]))
        assert set(page[part][0]) <= named, part
    assert set(replayed["events"][0]) <= set(page["story"][0])


@pytest.mark.usefixtures("_trouble")
def test_the_keys_inside_are_named_as_well(saga: Saga) -> None:
    page = saga("show", "order-42", "-o", "json").value
    refund = page["steps"][1]
    for part, value in (
        ("steps", refund),
        ("steps", refund["commands"][0]),
        ("history", page["history"][0]),
        ("next", page["next"][0]),
        ("first_failure", page["first_failure"]),
    ):
        assert set(value) <= set(re.findall(r"`(\w+)`", JSON_KEYS["show"][part])), part
    (letter,) = saga("dlq", "list", "-o", "json").value
    assert set(letter["alert"]) == set(re.findall(r"`(\w+)`", JSON_KEYS["dlq list"]["alert"]))
    assert set(page["dead_letters"][0]) == set(JSON_KEYS["dlq list"])
