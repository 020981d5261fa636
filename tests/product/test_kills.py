"""Everything is killed, at any moment, and no saga is lost, doubled or left half undone."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from servers.postgres import PrivatePostgres
from servers.private import PrivateServer
from servers.rabbit import PrivateRabbit

from tests.product.installation import SERVICES, Installation, Place, installed
from tests.product.orders import mixed_orders
from tests.product.scale import Scale
from tests.product.story import Story, check

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]


def test_whatever_is_killed_every_saga_ends_and_the_books_agree(
    frail_place: Place,
    rabbit: PrivateRabbit,
    postgres: PrivatePostgres,
    tmp_path: Path,
    scale: Scale,
) -> None:
    chance = scale.chance()
    with installed(frail_place, tmp_path) as installation:
        orchestrators = [
            installation.orchestrator("trial_orders", name=f"orchestrator-{number}")
            for number in (1, 2)
        ]
        services = [installation.participants(name, name=name) for name in SERVICES]
        worker = installation.dlq_worker(SAGA_REPLAY_BASE="1s")
        story = Story(installation=installation, orders=mixed_orders(10**6, chance), chance=chance)
        story.begin()
        wave = scale.sagas // (scale.kills + 2)
        for _ in range(scale.kills):
            story.begin_wave(wave)
            story.kill_each_of(orchestrators, services, [worker])
        for server in (rabbit, postgres):
            story.begin_wave(wave)
            story.reach_any_moment()
            fail(server)
        states = story.end()
        installation.wait_ready()
        check(story, states)


@pytest.mark.full
def test_any_faults_in_any_order_lose_and_double_nothing(
    frail_place: Place,
    rabbit: PrivateRabbit,
    postgres: PrivatePostgres,
    tmp_path: Path,
    scale: Scale,
) -> None:
    chance = scale.chance()
    with installed(frail_place, tmp_path) as installation:
        for number in (1, 2):
            installation.orchestrator("trial_orders", name=f"orchestrator-{number}")
            installation.participants(name=f"services-{number}")
        installation.dlq_worker(SAGA_REPLAY_BASE="1s")
        story = Story(installation=installation, orders=mixed_orders(10**6, chance), chance=chance)
        story.begin()
        for _ in range(scale.kills):
            story.begin_wave(scale.sagas // scale.kills)
            for _ in range(3):
                story.reach_any_moment()
                befall(installation, (rabbit, postgres), chance)
        states = story.end()
        installation.wait_ready()
        check(story, states)


def befall(
    installation: Installation, servers: Sequence[PrivateServer], chance: random.Random
) -> None:
    """Something, and often several things at once."""
    victims = chance.sample(installation.daemons, chance.randint(0, 3))
    failing = chance.sample(servers, chance.choice([0, 0, 1, 2]))
    print([victim.name for victim in victims], [server.name for server in failing])
    for victim in victims:
        victim.kill()
    for server in failing:
        if chance.random() < 0.3:
            server.restart()
        else:
            fail(server)
    for victim in victims:
        victim.start()


def fail(server: PrivateServer) -> None:
    """As by a power cut, and back again."""
    if isinstance(server, PrivateRabbit):
        server.sync_declarations()
    server.kill()
    server.start()
