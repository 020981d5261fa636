"""Every daemon dies at its failpoints, and no saga is lost, doubled or stuck.

CI has a selection; with SAGA_PRODUCT_FULL=1 they die at every one.
"""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import psycopg
import pytest

from chassis.failpoints import Failpoint
from tests.failpoints.successions import Succession, in_turn, left_over
from tests.product import audit
from tests.product.customers import start_all, start_by_message
from tests.product.installation import Installation, Place, installed, wait_for
from tests.product.listeners import listen, outcomes_told
from tests.product.orders import FRAIL, PROMPT, Asked, order
from tests.product.scale import is_full
from tests.product.story import are_empty

SECONDS = 60.0  # without a death: nobody comes by the failpoints that are left
FEW = 4  # sagas under way: the next wave may begin
EXHAUSTED = "compensation_exhausted"
STRANGE = "unknown_saga_type"

# By the daemons that come by there: orchestrator, services, carrier, DLQ worker.
IN_CI = (
    (
        Failpoint.BEFORE_COMMIT,
        Failpoint.AFTER_COMMIT,
        Failpoint.BEFORE_ACK,
        Failpoint.TIMER_AFTER_COMMIT,
    ),
    (Failpoint.GUARD_BEFORE_COMMIT, Failpoint.PARTICIPANT_BEFORE_ACK),
    (Failpoint.GUARD_AFTER_NOTE,),
    (
        Failpoint.DLQ_INTAKE_AFTER_COMMIT,
        Failpoint.DLQ_LOOK_BEFORE_COMMIT,
        Failpoint.DLQ_ROUND_BEFORE_COMMIT,
    ),
)

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


def test_a_daemon_killed_at_any_failpoint_loses_and_doubles_nothing(
    place: Place, tmp_path: Path
) -> None:
    with installed(place, tmp_path) as installation:
        successions = _successions(installation)
        for each in successions:
            each.begin()
        installation.wait_ready()
        asyncio.run(listen(place))
        asked, strange = _play(place, successions)
        ids = [each.saga_id for each in asked]
        states = audit.Progress(place).wait_until_ended(ids, seconds=60)
        installation.wait_ready()
        assert states == {each.saga_id: each.ends for each in asked}
        _check_books(place, states)
        _check_letters(place, strange)


def _successions(installation: Installation) -> Sequence[Succession]:
    orchestrator = installation.orchestrator("trial_orders")
    services = installation.participants("inventory", "payment", "notification")
    carrier = installation.service("carrier_service")
    worker = installation.dlq_worker(SAGA_REPLAY_BASE="1s", SAGA_ALERT_TIMEOUT="1s")
    daemons = (orchestrator, services, carrier, worker)
    points = in_turn() if is_full() else IN_CI
    return [
        Succession(daemon=each, points=list(of_it))
        for each, of_it in zip(daemons, points, strict=True)
    ]


def _play(place: Place, successions: Sequence[Succession]) -> tuple[list[Asked], list[str]]:
    """Waves of orders until everybody has died everywhere."""
    asked: list[Asked] = []
    strange: list[str] = []
    numbers = count()
    deadline = time.monotonic() + SECONDS
    while not all(each.is_over for each in successions):
        assert time.monotonic() < deadline, f"nobody has come by: {left_over(successions)}"
        if _under_way(place, asked) <= FEW:
            wave = [_asked(next(numbers)) for _ in range(4)]
            asked += wave
            strange.append(_in_letters(len(strange)))
            asyncio.run(_begin(place, wave, strange[-1]))
        if any(each.go_on() for each in successions):
            deadline = time.monotonic() + SECONDS
        time.sleep(0.05)
    return asked, strange


def _under_way(place: Place, asked: Sequence[Asked]) -> int:
    now = audit.states(place)
    return sum(now.get(each.saga_id) not in audit.FINAL for each in asked)


def _asked(number: int) -> Asked:
    """Asked for by the client, then by a message, in turns: see `start_all`."""
    ends, saga_type, trial = "failed", PROMPT, {"fail_at": "create_shipment"}
    match number % 8:
        case 0 | 3:
            ends, trial = "completed", {}
        case 1 | 6:
            saga_type = FRAIL
            trial |= {"fail_compensation": {"process_payment": 1}}
    data = order(number, **trial)
    return Asked(saga_id=f"order-{number}", saga_type=saga_type, data=data, ends=ends)


async def _begin(place: Place, wave: Sequence[Asked], strange: str) -> None:
    await start_all(place, wave)
    unknown = Asked(saga_id=f"strange-{strange}", saga_type=strange, data={}, ends=None)
    await start_by_message(place, [unknown])


def _in_letters(number: int) -> str:
    """A saga type for each number; without digits, which signatures mask."""
    return "Strange" + "".join(chr(ord("A") + int(digit)) for digit in str(number))


def _check_books(place: Place, states: dict[str, str]) -> None:
    assert audit.history_gaps(place) == []
    assert audit.broken_chains(place) == []
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert asyncio.run(outcomes_told(place)) == {name: {state} for name, state in states.items()}


def _check_letters(place: Place, strange: Sequence[str]) -> None:
    """Every letter is stored once, every exhausted compensation resolved, everybody told."""
    wait_for(lambda: asyncio.run(are_empty(place)), "no message is left in any queue")
    wait_for(lambda: _open(place, EXHAUSTED) == [], "every replayed compensation is resolved")
    kept = [row["headers"]["saga-original-message-id"] for row in _letters(place, STRANGE)]
    assert sorted(kept) == sorted(f"start-strange-{each}" for each in strange)
    reasons = {row["reason"] for row in audit.letters(place)}
    assert reasons == {EXHAUSTED, STRANGE}
    wait_for(lambda: not _undelivered(place), "every alert has been sent")
    assert _open_alerts(place) == len(strange)


def _letters(place: Place, reason: str) -> list[dict[str, object]]:
    return [dict(row) for row in audit.letters(place) if row["reason"] == reason]


def _open(place: Place, reason: str) -> list[object]:
    return [
        row["saga_id"] for row in _letters(place, reason) if row["status"] in ("open", "replaying")
    ]


def _open_alerts(place: Place) -> int:
    return _number(place, "SELECT count(*) FROM alerts WHERE status = 'open' AND times_sent = 1")


def _undelivered(place: Place) -> int:
    unsent = "SELECT count(*) FROM alert_deliveries WHERE NOT ok"
    unbegun = "SELECT count(*) FROM alerts WHERE times_sent = 0"
    return _number(place, unsent) + _number(place, unbegun)


def _number(place: Place, query: str) -> int:
    with psycopg.connect(place.saga_database) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return int(row[0])
