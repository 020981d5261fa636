"""A definition changes while its sagas run: each ends by its own plan, and it was said before."""

import asyncio
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.product import audit
from tests.product.customers import start_all
from tests.product.installation import Installation, Place, installed, saga, wait_for
from tests.product.orders import STEPS, Asked, order
from tests.product.scale import Scale

RELEASE = "SAGA_TEST_RELEASE"
MODULE = "changing_orders"
PARTICIPANTS = "participants.examples.order_fulfillment"

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]


def test_sagas_in_flight_end_by_their_own_plan_and_compat_has_said_so(
    place: Place, tmp_path: Path, scale: Scale
) -> None:
    asked = [_asked(number) for number in range(scale.good_sagas)]
    ids = [each.saga_id for each in asked]
    patience = 180.0 + len(asked) / 2
    with installed(place, tmp_path) as installation:
        old = installation.orchestrator(MODULE, name="old", **{RELEASE: "1"})
        installation.participants("inventory", "payment", name="first")
        installation.start()
        asyncio.run(start_all(place, asked))
        # Nobody ships yet: all of them are in the middle of the old plan.
        wait_for(lambda: _at(place, "create_shipment") == len(asked), "all wait", seconds=patience)
        _is_told_to_be_harmless(installation, len(asked))
        _is_told_what_would_be_stranded(installation, len(asked))

        assert old.terminate() == 0
        installation.daemons.remove(old)
        installation.orchestrator(MODULE, name="new", **{RELEASE: "2"})
        installation.participants("shipping", "notification", name="second")
        installation.start()
        asyncio.run(start_all(place, [_asked(len(asked))]))
        all_ids = [*ids, f"order-{len(asked)}"]
        ended = audit.Progress(place).wait_until_ended(all_ids, seconds=patience)
    assert set(ended.values()) == {"completed"}
    assert _orders_of_completion(place, ids) == {STEPS}
    reserve, pay, ship, confirm = STEPS
    assert _orders_of_completion(place, [f"order-{len(asked)}"]) == {(reserve, pay, confirm, ship)}
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert audit.letters(place) == []


def _is_told_to_be_harmless(installation: Installation, count: int) -> None:
    told = _compat(installation, MODULE, "--participants", PARTICIPANTS)
    assert told["code"] == 0
    assert (told["is_compatible"], told["sagas"], told["stranded"]) == (True, count, 0)
    kinds = {each["kind"] for each in told["findings"]}
    assert kinds == {"plan_changed", "field_not_sent"}
    assert {each["sagas"] for each in told["findings"]} == {count}
    not_sent = [each for each in told["findings"] if each["kind"] == "field_not_sent"]
    assert [each["step_name"] for each in not_sent] == sorted(STEPS)
    assert all("payment_method, " in each["field"] for each in not_sent)


def _is_told_what_would_be_stranded(installation: Installation, count: int) -> None:
    """If the shipping service were no longer there, and if nobody knew the type."""
    services = [f"{PARTICIPANTS}:{name}" for name in ("inventory", "payment", "notification")]
    given = [word for name in services for word in ("--participants", name)]
    told = _compat(installation, MODULE, *given)
    assert (told["code"], told["stranded"]) == (3, count)
    gone = [each for each in told["findings"] if each["strands"]]
    assert {each["kind"] for each in gone} == {"participant_gone"}
    assert {each["step_name"] for each in gone} == {"create_shipment"}
    assert all(each["sagas"] == count and len(each["examples"]) == 5 for each in gone)
    assert _compat(installation, MODULE, *given, "--elsewhere", "ShippingService")["code"] == 0
    unknown = _compat(installation, "trial_orders")
    assert unknown["code"] == 0  # they are planned: no definition is needed any more
    assert [each["kind"] for each in unknown["findings"]] == ["type_gone"]


def _compat(installation: Installation, *arguments: str) -> dict[str, Any]:
    line = ("definitions", "compat", *arguments, "-o", "json")
    said = saga(installation, *line, **{RELEASE: "2"})
    assert said.code in (0, 3), said.err
    return {**json.loads(said.out), "code": said.code}


def _asked(number: int) -> Asked:
    return Asked(
        saga_id=f"order-{number}", saga_type="ChangingOrder", data=order(number), ends="completed"
    )


def _at(place: Place, step: str) -> int:
    """How many sagas are executing this step."""
    query = "SELECT count(*) FROM saga_history WHERE step = %s AND after = 'executing'"
    with psycopg.connect(place.saga_database) as connection:
        row = connection.execute(query, [step]).fetchone()
    return row[0] if row else 0


def _orders_of_completion(place: Place, ids: list[str]) -> set[tuple[str, ...]]:
    query = """SELECT array_agg(step ORDER BY version) FROM saga_history
               WHERE saga_id = ANY(%s) AND step IS NOT NULL AND after = 'completed'
               GROUP BY saga_id"""
    with psycopg.connect(place.saga_database) as connection:
        return {tuple(row[0]) for row in connection.execute(query, [ids])}
