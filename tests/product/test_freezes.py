"""Half of an installation freezes, as a machine does that is paused: the other half goes on."""

import signal
from pathlib import Path

import pytest

from tests.product.installation import Place, installed
from tests.product.orders import mixed_orders
from tests.product.scale import Scale
from tests.product.story import Story, check

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.timeout(600),
]

# By default a claim is taken from a frozen participant after five minutes.
GIVEN_UP_SOON = "?options=-c%20idle_in_transaction_session_timeout%3D5s"


@pytest.mark.parametrize("victim", ["orchestrator-1", "services-1"])
def test_what_one_of_two_holds_while_it_is_frozen_is_done_by_the_other(
    victim: str, place: Place, tmp_path: Path, scale: Scale
) -> None:
    chance = scale.chance()
    with installed(place, tmp_path) as installation:
        inbox = place.shop_database + GIVEN_UP_SOON
        for number in (1, 2):
            installation.orchestrator("trial_orders", name=f"orchestrator-{number}")
            installation.participants(name=f"services-{number}", SAGA_INBOX_URL=inbox)
        installation.dlq_worker(SAGA_REPLAY_BASE="1s")
        story = Story(installation=installation, orders=mixed_orders(10**6, chance), chance=chance)
        frozen = installation.daemon(victim)
        frozen.start()
        frozen.wait_ready()  # of orchestrators, the one that began first is served first
        story.begin()
        pids = installation.pids()
        story.begin_wave(scale.sagas)
        story.reach_any_moment()
        frozen.send(signal.SIGSTOP)
        story.end()
        frozen.send(signal.SIGCONT)
        installation.wait_ready()
        story.begin_wave(scale.sagas // 4)
        check(story, story.end())
        assert installation.pids() == pids
