"""Every bad message there is, to every queue: each becomes a dead letter, and sagas go on."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.product import audit
from tests.product.customers import start_all
from tests.product.installation import Installation, Place, installed, wait_for
from tests.product.nonsense import (
    Bad,
    Malformed,
    bad_dead_letters,
    bad_messages,
    malformed_messages,
    publish_bad,
    publish_malformed,
)
from tests.product.orders import ORDER, STEPS, Asked, order
from tests.product.scale import Scale

SHARES = 10  # the bad and the good arrive in turns, so many of each

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


def test_no_bad_input_stops_a_daemon_or_a_good_saga(
    place: Place, tmp_path: Path, scale: Scale
) -> None:
    good = list(good_orders(scale.good_sagas))
    bad, malformed, dead = bad_messages(place), malformed_messages(), bad_dead_letters(place)
    with installed(place, tmp_path) as installation:
        installation.orchestrator("orchestrator.examples.order_fulfillment")
        installation.participants()
        installation.dlq_worker()
        installation.start()
        pids = installation.pids()
        asyncio.run(_mix(place, good, [*bad, *dead]))
        publish_malformed(place, malformed)
        ids = [each.saga_id for each in good]
        states = audit.Progress(place).wait_until_ended(ids, seconds=60)
        _meet_their_fates(place, bad, malformed, dead)
        assert installation.pids() == pids
        installation.wait_ready()
        _nobody_was_surprised(installation)
    assert states == {each.saga_id: each.ends for each in good}
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert audit.history_gaps(place) == []


def good_orders(count: int) -> Iterable[Asked]:
    """Three of four complete, the fourth fails at one step or another."""
    for number in range(count):
        fails = number % 4 == 3
        trial = {"fail_at": STEPS[number // 4 % 4]} if fails else {}
        yield Asked(
            saga_id=f"good-{number}",
            saga_type=ORDER,
            data=order(number, **trial),
            ends="failed" if fails else "completed",
        )


async def _mix(place: Place, good: Sequence[Asked], bad: Sequence[Bad]) -> None:
    for share in range(SHARES):
        await asyncio.gather(
            start_all(place, good[share::SHARES]), publish_bad(place, bad[share::SHARES])
        )


def _meet_their_fates(
    place: Place, bad: Sequence[Bad], malformed: Sequence[Malformed], dead: Sequence[Bad]
) -> None:
    """Every dead letter with its reason; every order that is no order, a saga that failed."""
    letters = [(each.id, each.reason) for each in (*bad, *malformed) if each.reason]
    stored = [each.id for each in dead] + [f"dead-{each.id}" for each in malformed]
    sagas = [each.id for each in bad if each.reason is None]

    def missing() -> list[str]:
        reasons, now = _reasons(place), audit.states(place)
        return [
            *(f"{name}: {reason}" for name, reason in letters if reason not in reasons[name]),
            *(name for name in stored if name not in reasons),
            *(name for name in sagas if now.get(name) != "failed"),
        ]

    try:
        wait_for(lambda: not missing(), "every bad message has met its fate", seconds=60)
    except AssertionError as error:
        names = {each.id: each.name for each in bad}
        told = [f"{line} ({names.get(line.partition(':')[0])})" for line in missing()]
        error.add_note("\n".join(told[:40]))
        raise


def _reasons(place: Place) -> Mapping[str, set[str]]:
    """The reasons of the dead letters, by every name that a message may be known by."""
    reasons: dict[str, set[str]] = defaultdict(set)
    for row in audit.letters(place):
        original = row["headers"].get("saga-original-message-id")
        for name in (original, row["message_id"], row["saga_id"]):
            reasons[name].add(row["reason"])
    return reasons


def _nobody_was_surprised(installation: Installation) -> None:
    """What is foreseen is no traceback, and no error but the alerts'."""
    for daemon in installation.daemons:
        assert "Traceback" not in daemon.log, daemon.name
        errors = [line for line in daemon.log.splitlines() if "[error" in line]
        assert [line for line in errors if "a person is needed" not in line] == [], daemon.name
