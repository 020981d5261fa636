"""The parts of the soak that decide something: orders, faults, vitals, flatness, the page."""

import json
import os
import socket
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from tests.product.orders import HASTY, STEPS
from tests.soak.faults import FAULTS, drawn
from tests.soak.flatness import Measure, measures
from tests.soak.orders import KINDS, WAITING, mixed_orders
from tests.soak.page import PAGE, RECORD, renewed
from tests.soak.samples import Growth, Sample, TableGrowth
from tests.soak.vitals import vitals_of

SAGAS = 1000
MEBI = 2**20


def test_whoever_has_the_seed_has_the_orders() -> None:
    orders = list(islice(mixed_orders(7), 500))
    assert orders == list(islice(mixed_orders(7), 500))
    assert orders != list(islice(mixed_orders(8), 500))
    assert len({each.saga_id for each in orders}) == 500


def test_the_orders_are_mixed_as_the_shares_say() -> None:
    orders = list(islice(mixed_orders(1), 20_000))
    assert sum(kind.share for kind in KINDS) == 1000
    waiting = [each for each in orders if each.ends == WAITING]
    assert 10 < len(waiting) < 100
    assert 0.08 < sum(each.saga_type == HASTY for each in orders) / len(orders) < 0.12
    assert {each.data["fail_at"] for each in orders if "fail_at" in each.data} == set(STEPS)


def test_a_deck_holds_every_fault_and_the_seed_its_order() -> None:
    deck = sum(fault.copies for fault in FAULTS)
    cards = list(drawn(3, 2 * deck))
    assert Counter(card.fault.name for card in cards) == {
        fault.name: 2 * fault.copies for fault in FAULTS
    }
    assert cards == list(drawn(3, 2 * deck))
    assert [card.seed for card in cards] != [card.seed for card in drawn(4, 2 * deck)]


def test_the_vitals_of_a_process_count_its_connections() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        before = vitals_of(os.getpid())
        with socket.create_connection(("127.0.0.1", port)):
            after = vitals_of(os.getpid())
    assert before is not None
    assert after is not None
    assert after.handles > before.handles
    assert after.connections[port] == before.connections.get(port, 0) + 1
    assert after.resident > MEBI


def test_nobody_has_no_vitals() -> None:
    assert vitals_of(2**22 + 1) is None


QUIET = Growth(pid=1, resident=100 * MEBI, handles=20, threads=2, broker=2, database=4)
TABLE = TableGrowth(live=0, dead=0, size=0)


def sample(started: int, growth: Growth, bytes_each: int = 1000) -> Sample:
    size = bytes_each * started
    return Sample(
        at=0.0,
        started=started,
        ended=started,
        daemons={"dlq-it": growth},
        tables={
            name: replace(TABLE, size=size) for name in ("sagas", "saga_history", "saga_inbox")
        },
    )


def judged(late: Growth, bytes_each: int = 1000) -> list[Measure]:
    samples = [sample(120, QUIET), sample(500, QUIET), sample(980, late, bytes_each)]
    return list(measures(samples, SAGAS, ["dlq-it"]))


def test_what_stays_as_it_is_is_flat() -> None:
    found = judged(QUIET)
    assert len(found) == 8
    assert all(measure.is_flat for measure in found)
    assert all(measure.is_flat for measure in judged(replace(QUIET, resident=109 * MEBI)))


@pytest.mark.parametrize(
    ("late", "name"),
    [
        (replace(QUIET, resident=111 * MEBI), "dlq-it: resident MiB"),
        (replace(QUIET, handles=24), "dlq-it: handles beside connections"),
        (replace(QUIET, threads=6), "dlq-it: threads"),
        (replace(QUIET, broker=6), "dlq-it: connections to the broker"),
        (replace(QUIET, database=12), "dlq-it: connections to the database"),
    ],
)
def test_what_grows_is_named(late: Growth, name: str) -> None:
    assert [each.name for each in judged(late) if not each.is_flat] == [name]


def test_tables_that_bloat_are_named() -> None:
    bloated = [each.name for each in judged(QUIET, bytes_each=1300) if not each.is_flat]
    assert bloated == [
        f"table {name}: bytes for each saga" for name in ("sagas", "saga_history", "saga_inbox")
    ]


def test_a_run_too_short_to_be_looked_at_twice_is_not_measured() -> None:
    assert list(measures([sample(500, QUIET)], SAGAS, ["dlq-it"])) == []


def test_the_page_shows_the_soak_that_was_recorded() -> None:
    told = json.loads(RECORD.read_text())
    assert PAGE.read_text() == renewed(PAGE.read_text(), told)
    assert [told[name] for name in ("lost", "doubled", "stuck", "problems")] == [0, 0, 0, 0]
