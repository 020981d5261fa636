"""The audit finds nothing in sagas that are as they should be, and each thing that is not."""

from collections.abc import Iterator, Mapping

import psycopg
import pytest
from sqlalchemy import create_engine

from participants.examples.books import metadata
from tests.product.installation import Place
from tests.product.orders import HASTY, PROMPT, STEPS, Asked
from tests.product.places import drop_database, new_place
from tests.soak.checker import Verdict, audited
from tests.soak.questions import DOUBLED, LOST, PROBLEMS, STUCK

ASKED = [
    Asked(saga_id="order-1", saga_type=PROMPT, data={}, ends="completed"),
    Asked(saga_id="order-2", saga_type=PROMPT, data={}, ends="failed"),
    Asked(saga_id="order-3", saga_type=PROMPT, data={"fail_compensation": {}}, ends="compensating"),
    Asked(saga_id="order-4", saga_type=HASTY, data={}, ends=None),
]
TOLD = {"order-1": "completed", "order-2": "failed", "order-4": "failed"}

# One that completed, one that failed at its second step, one whose reservation cannot be
# released, and one whose first step timed out and succeeded all the same, too late.
SAGAS = """
    INSERT INTO sagas (saga_id, saga_type, state, version, input_digest, data, plan, steps,
                       on_exhausted, created_at, updated_at, ended_at)
    SELECT saga_id, 'PromptOrder', state, version, '', '{}', plan, steps::json, 'halt', now(),
           now(), CASE WHEN state <> 'compensating' THEN now() END
    FROM (VALUES
        ('order-1', 'completed', 10, '[{"status": "completed"}, {"status": "completed"},
                                       {"status": "completed"}, {"status": "completed"}]'),
        ('order-2', 'failed', 7, '[{"status": "compensated"}, {"status": "failed"}, {}, {}]'),
        ('order-3', 'compensating', 7,
         '[{"status": "compensation_failed"}, {"status": "failed"}, {}, {}]'),
        ('order-4', 'failed', 4, '[{"status": "compensated"}, {}, {}, {}]')
    ) AS told (saga_id, state, version, steps), LATERAL (SELECT '[
        {"name": "reserve_inventory"}, {"name": "process_payment"},
        {"name": "create_shipment"}, {"name": "send_confirmation"}]'::json AS plan) AS planned
"""
LETTERS = """
    INSERT INTO dead_letters (key, place, origin, reason, signature, saga_id, step_name,
        routing_key, headers, properties, body, body_bytes, status, times_seen, first_seen,
        last_seen, replays, send_requested, alert_key)
    SELECT alert_key, '', origin, reason, '', saga_id, 'reserve_inventory', '', '{}', '{}', '', 0,
           'open', 1, now(), now(), 0, false, alert_key
    FROM (VALUES
        ('compensation_exhausted', 'compensation', 'order-3', 'saga|order-3|reserve_inventory'),
        ('late_success', 'late_success', 'order-4', 'saga|order-4|reserve_inventory')
    ) AS told (reason, origin, saga_id, alert_key)
"""
ALERT = """
    INSERT INTO alerts (key, letter_id, status, severity, title, summary, created_at, times_sent)
    VALUES ('saga|order-3|reserve_inventory', 1, 'open', 'critical', '', '', now(), 1)
"""
Lines = tuple[tuple[str | None, str, str], ...]
HISTORY: Mapping[str, Lines] = {
    "order-1": (
        (None, "started", "started"),
        ("reserve_inventory", "pending", "executing"),
        ("reserve_inventory", "executing", "completed"),
        *((step, "pending", "executing") for step in STEPS[1:]),
        *((step, "executing", "completed") for step in STEPS[1:]),
        (None, "started", "completed"),
    ),
    "order-2": (
        (None, "started", "started"),
        ("reserve_inventory", "pending", "executing"),
        ("reserve_inventory", "executing", "completed"),
        ("process_payment", "pending", "executing"),
        ("process_payment", "executing", "failed"),
        ("reserve_inventory", "completed", "compensated"),
        (None, "started", "failed"),
    ),
    "order-3": (
        (None, "started", "started"),
        ("reserve_inventory", "pending", "executing"),
        ("reserve_inventory", "executing", "completed"),
        ("process_payment", "pending", "executing"),
        ("process_payment", "executing", "failed"),
        ("reserve_inventory", "completed", "compensation_failed"),
        (None, "started", "compensating"),
    ),
    "order-4": (
        (None, "started", "started"),
        ("reserve_inventory", "pending", "executing"),
        ("reserve_inventory", "executing", "compensated"),
        (None, "started", "failed"),
    ),
}
SHOP = """
    INSERT INTO inventory_stock VALUES ('A-1', 1000000 - 2);
    INSERT INTO inventory_reservations (saga_id, kind, sku, quantity) VALUES
        ('order-1', 'reserve', 'A-1', 1), ('order-3', 'reserve', 'A-1', 1),
        ('order-2', 'reserve', 'A-1', 1), ('order-2', 'release', 'A-1', 1),
        ('order-4', 'reserve', 'A-1', 1), ('order-4', 'release', 'A-1', 1);
    INSERT INTO payments (saga_id, kind, amount_cents, method) VALUES ('order-1', 'charge', 1, '');
    INSERT INTO shipments (saga_id, kind, tracking_number) VALUES ('order-1', 'create', '');
    INSERT INTO notifications (saga_id, kind, text) VALUES ('order-1', 'confirmation', '');
"""
DAMAGE: Mapping[str, str] = {
    "asked for and unknown": "DELETE FROM sagas WHERE saga_id = 'order-2'",
    "completed, and an effect is missing": "shop: DELETE FROM payments",
    "failed, and an effect was not undone": (
        "shop: DELETE FROM inventory_reservations WHERE saga_id = 'order-2' AND kind = 'release'"
    ),
    "waiting, and the effect that resists is gone, or not the last one": (
        "shop: DELETE FROM inventory_reservations WHERE saga_id = 'order-3'"
    ),
    "ended, and nobody was told so": "told: order-1",
    "an effect was done or undone more than once": (
        "shop: INSERT INTO shipments (saga_id, kind, tracking_number)"
        " VALUES ('order-1', 'create', '')"
    ),
    "a saga that nobody asked for": "UPDATE sagas SET saga_id = 'other' WHERE saga_id = 'order-2'",
    "an effect that nobody commanded": (
        "shop: INSERT INTO payments (saga_id, kind, amount_cents, method)"
        " VALUES ('order-4', 'charge', 1, ''), ('order-4', 'refund', 1, '')"
    ),
    "told of an end that it has not": "told: order-3",
    "not ended, and nobody knows why": (
        "UPDATE sagas SET state = 'pending' WHERE saga_id = 'order-1'"
    ),
    "waiting for a person without exactly one open alert": "UPDATE alerts SET status = 'closed'",
    "ended otherwise than it had to": (
        "UPDATE sagas SET state = 'failed' WHERE saga_id = 'order-1'"
    ),
    "the history is not 1, 2, 3, … up to the saga's version": (
        "DELETE FROM saga_history WHERE saga_id = 'order-1' AND version = 4"
    ),
    "left a state that it had not entered": (
        "UPDATE saga_history SET before = 'pending' WHERE saga_id = 'order-2' AND version = 3"
    ),
    "a dead letter of a kind that nobody has asked for": (
        "UPDATE dead_letters SET saga_id = 'order-1' WHERE reason = 'late_success'"
    ),
    "an open dead letter about a compensation that is not waiting": (
        "UPDATE dead_letters SET saga_id = 'order-4' WHERE reason = 'compensation_exhausted'"
    ),
    "shelf and ledger disagree": "shop: UPDATE inventory_stock SET available = 1",
}


@pytest.fixture(scope="module")
def place(postgres_url: str) -> Iterator[Place]:
    place = new_place("amqp://nobody@127.0.0.1:1/", postgres_url)
    engine = create_engine(place.shop_database.replace("postgresql:", "postgresql+psycopg:"))
    metadata.create_all(engine)
    engine.dispose()
    yield place
    for url in (place.saga_database, place.shop_database):
        drop_database(postgres_url, url)


@pytest.fixture(autouse=True)
def _all_is_well(place: Place) -> None:
    with psycopg.connect(place.saga_database) as there:
        there.execute("TRUNCATE sagas, saga_history, dead_letters, alerts RESTART IDENTITY")
        for statement in (SAGAS, LETTERS, ALERT):
            there.execute(statement)
        for saga_id, lines in HISTORY.items():
            for version, line in enumerate(lines, 1):
                there.execute(
                    "INSERT INTO saga_history (saga_id, version, at, step, before, after)"
                    " VALUES (%s, %s, now(), %s, %s, %s)",
                    [saga_id, version, *line],
                )
    with psycopg.connect(place.shop_database) as shop:
        shop.execute("TRUNCATE inventory_stock, inventory_reservations, payments, shipments")
        shop.execute("TRUNCATE notifications")
        shop.execute(SHOP)


def audit(place: Place, told: Mapping[str, str] = TOLD) -> Verdict:
    return audited(place, ASKED, told)


def test_nothing_is_found_where_all_is_well(place: Place) -> None:
    verdict = audit(place)
    assert list(verdict.findings) == []
    assert (verdict.sagas, verdict.ended, verdict.waiting) == (4, 3, 1)


@pytest.mark.parametrize("question", DAMAGE)
def test_what_is_wrong_is_found(place: Place, question: str) -> None:
    told = dict(TOLD)
    where, _, statement = DAMAGE[question].rpartition(": ")
    if where == "told":
        told = {**told, statement: "completed"} if statement not in told else told
        if statement in TOLD:
            del told[statement]
    else:
        with psycopg.connect(place.shop_database if where else place.saga_database) as there:
            there.execute(statement)
    assert question in {finding.question for finding in audit(place, told).findings}


def test_every_question_has_its_damage() -> None:
    assert {*LOST, *DOUBLED, *STUCK, *PROBLEMS, "shelf and ledger disagree"} == set(DAMAGE)
