"""A fixed selection of the fault scenarios. `make chaos` plays all of them."""

import os
import random
from collections.abc import Iterator

import pytest
from servers.postgres import postgres_programs
from servers.rabbit import rabbit_programs

from tests.chaos.playing import play
from tests.chaos.pool import ServerPool
from tests.chaos.scenario import Scenario, all_scenarios

SAGAS = 40
SHORT = [each for each in all_scenarios() if each.is_short]

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def pool() -> Iterator[ServerPool]:
    if not (rabbit_programs() and postgres_programs()) and not os.environ.get("CI"):
        pytest.skip("no rabbitmq-server, or no postgres, on this machine")
    with ServerPool() as servers:
        yield servers


@pytest.mark.parametrize("scenario", SHORT, ids=lambda each: each.name)
def test_nothing_is_lost_doubled_or_stuck(scenario: Scenario, pool: ServerPool) -> None:
    seed = int(os.environ.get("SAGA_CHAOS_SEED") or random.SystemRandom().randrange(100_000))
    print(f"SAGA_CHAOS_SEED={seed}")
    played = play(scenario, pool, seed=seed, sagas=SAGAS)
    assert played.verdict.is_clean, played.report
