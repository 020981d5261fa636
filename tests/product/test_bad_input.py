"""Every bad message there is, to every queue: each becomes a dead letter, and sagas go on."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.corpus.stories import Story
from tests.product import audit
from tests.product.customers import start_all
from tests.product.installation import Installation, Place, installed, wait_for
from tests.product.nonsense import ACTIONS, Bad, publish_bad, publish_malformed
from tests.product.orders import ORDER, STEPS, Asked, order
from tests.product.poison_storm import Storm, brew, told_if_it_fails, uncounted
from tests.product.scale import Scale
from tests.product.telling import late_replies, otherwise, stories_at, tell, user_of

SERVICES = tuple(action.partition(".")[0] for action in ACTIONS)
REJECTED = re.compile(
    r"^(\S{19})\S* \[warning\s*\] (?:message rejected|dead letter) .*?reason=(\w+)", re.MULTILINE
)
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
    storm, told = brew(place), stories_at(place)
    with installed(place, tmp_path) as installation:
        _orchestrator(installation)
        installation.participants()
        installation.dlq_worker()
        installation.start()
        pids = installation.pids()
        asyncio.run(_mix(place, good, [*storm.bad, *storm.dead]))
        publish_malformed(place, storm.malformed)
        asyncio.run(tell(place, told))
        ids = [each.saga_id for each in good]
        states = audit.Progress(place).wait_until_ended(ids, seconds=60)
        _met_their_fates(place, storm, told)
        _each_was_counted(installation, storm, told)
        _floods_were_logged_in_moderation(installation)
        assert installation.pids() == pids
        installation.wait_ready()
        _nobody_was_surprised(installation)
    assert states == {each.saga_id: each.ends for each in good}
    books = asyncio.run(audit.books(place))
    assert list(books.problems) == []
    assert list(audit.disagreements(books, states)) == []
    assert audit.history_gaps(place) == []


def _orchestrator(installation: Installation) -> None:
    """It accepts answers only from the participants' user, and from nobody for ForeignService."""
    user = user_of(installation.place)
    users = ",".join(f"{service}={user}" for service in (*SERVICES, "StoryService"))
    installation.orchestrator(
        "orchestrator.examples.order_fulfillment",
        "story_sagas",
        SAGA_REQUIRE_USER_ID="true",
        SAGA_PARTICIPANT_USERS=users,
    )


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


def _met_their_fates(place: Place, storm: Storm, told: Sequence[Story]) -> None:
    def missing() -> list[str]:
        return [*storm.missing(place), *otherwise(place, told)]

    with told_if_it_fails(missing):
        wait_for(lambda: not missing(), "every bad message has met its fate", seconds=60)


def _each_was_counted(installation: Installation, storm: Storm, told: Sequence[Story]) -> None:
    late = late_replies(told)
    rejecting = [each for each in installation.daemons if each.name != "dlq-worker"]
    assert uncounted(rejecting, "saga_bad_input_total", "reason", storm.reasons) == []
    assert uncounted(installation.daemons, "saga_late_replies_total", "kind", late) == []
    keeping = [installation.daemon("dlq-worker")]
    assert uncounted(keeping, "saga_dead_letters_total", "reason", storm.reasons) == []


def _floods_were_logged_in_moderation(installation: Installation) -> None:
    """Ten lines for each reason in any second, so twenty in a second of the clock."""
    for daemon in installation.daemons:
        lines = REJECTED.findall(daemon.log)
        assert lines, daemon.name
        worst, count = Counter(lines).most_common(1)[0]
        assert count <= 20, f"{daemon.name} has {count} lines of {worst}"


def _nobody_was_surprised(installation: Installation) -> None:
    """What is foreseen is no traceback, and no error but the alerts'."""
    for daemon in installation.daemons:
        assert "Traceback" not in daemon.log, daemon.name
        errors = [line for line in daemon.log.splitlines() if "[error" in line]
        assert [line for line in errors if "a person is needed" not in line] == [], daemon.name
