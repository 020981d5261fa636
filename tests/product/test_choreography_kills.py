"""Choreographed services are killed at any moment, and no order is lost, doubled or half undone."""

import asyncio
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aio_pika
import psycopg
import pytest

from participants.choreography.starting import Starts
from participants.examples import order_choreography_books as books
from participants.examples.order_choreography import Order, place_order
from participants.sql_engine import engine_for
from tests.examples.choreography_cases import fill
from tests.product import audit
from tests.product.installation import Installation, Place, installed, saga, wait_for
from tests.product.scale import Scale, is_full

MODULE = "participants.examples.order_choreography"
SERVICES = ("order_service", "inventory_service", "payment_service", "shipping_service")
QUEUES = ("OrderService", "InventoryService", "PaymentService", "ShippingService")
STILL_SECONDS = 120.0
ORDERS = int(os.environ.get("SAGA_PRODUCT_ORDERS") or (200 if is_full() else 40))

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]


@contextmanager
def staged(place: Place, tmp_path: Path) -> Iterator[Installation]:
    """A recorder, the DLQ worker, and each service in a process of its own."""
    with ExitStack() as stack:
        stack.callback(lambda: asyncio.run(_remove_queues(place)))
        installation = stack.enter_context(installed(place, tmp_path))
        installation.recorder()
        installation.dlq_worker(SAGA_REPLAY_BASE="1s")
        installation.choreographed(MODULE, *SERVICES)
        asyncio.run(_fill(place))
        for daemon in installation.daemons:  # one by one: all at once is slow on two cores
            daemon.start()
            daemon.wait_ready()
        yield installation


def test_whatever_is_killed_every_order_ends_and_the_books_agree(
    place: Place, tmp_path: Path, scale: Scale
) -> None:
    chance = scale.chance()
    with staged(place, tmp_path) as stage:
        services = [stage.daemon(name) for name in SERVICES]
        wanted = asyncio.run(_place_orders(place, chance, ORDERS))
        for _ in range(scale.kills):
            for victim in chance.sample(services, len(services)):
                _reach_any_moment(stage, chance)
                victim.kill_and_restart()
        states = _ended(stage, list(wanted))
        assert states == wanted
        for daemon in services:
            wait_for(daemon.is_ready, f"{daemon.name} is ready again", seconds=STILL_SECONDS)
        _check(place, states)


def test_a_service_that_was_down_with_its_queue_gone_catches_up_by_a_replay(
    place: Place, tmp_path: Path
) -> None:
    with staged(place, tmp_path) as stage:
        payments = stage.daemon("payment_service")
        assert payments.terminate() == 0
        asyncio.run(_remove_queues(place, "PaymentService"))
        wanted = asyncio.run(_place_orders(place, random.Random(1), 4))
        wait_for(lambda: _answered(place) == _asked(place) == 4, "all have come as far as they can")
        payments.start()
        payments.wait_ready()
        waiting = [saga_id for saga_id in wanted if _states(place).get(saga_id) == "open"]
        assert waiting
        why = "its queue was deleted"
        for saga_id in waiting:
            said = _saga(stage, "choreography", "replay", saga_id, "--reason", why)
            assert "InventoryReserved" in said
        states = _ended(stage, list(wanted))
        assert states == wanted
        _check(place, states)
        assert why in _saga(stage, "choreography", "show", waiting[0])


def _saga(stage: Installation, *arguments: str) -> str:
    said = saga(stage, *arguments)
    assert said.code == 0, said.err
    return said.out


async def _place_orders(place: Place, chance: random.Random, count: int) -> dict[str, str]:
    """How each is to end, by its id."""
    wanted = {}
    inbox_url, namespace = place.shop_database, place.namespace
    async with Starts.open(place.amqp_url, inbox_url=inbox_url, namespace=namespace) as starts:
        for number in range(count):
            wishes = chance.choice(
                [{}, {}, {"sku": "vase"}, {"limit_cents": 1}, {"address": "nowhere"}]
            )
            order = {"sku": "lamp", "quantity": 1, "cents": 100, "limit_cents": 999}
            saga_id = f"order-{number}"
            placed = Order.model_validate({**order, "address": "here", **wishes})
            await place_order(starts, saga_id, placed)
            wanted[saga_id] = "failed" if wishes else "completed"
    return wanted


def _reach_any_moment(stage: Installation, chance: random.Random) -> None:
    place = stage.place
    goal = _events(place) + chance.randint(1, 30)

    def is_reached() -> bool:
        stage.must_run()
        return _events(place) >= goal or "open" not in _states(place).values()

    wait_for(is_reached, f"{goal} events are recorded", seconds=STILL_SECONDS)


def _ended(stage: Installation, saga_ids: Sequence[str]) -> dict[str, str]:
    def all_have_ended() -> bool:
        stage.must_run()
        now = _states(stage.place)
        return all(now.get(each, "open") != "open" for each in saga_ids)

    wait_for(all_have_ended, "all orders have ended", seconds=STILL_SECONDS)
    return _states(stage.place)


def _check(place: Place, states: dict[str, str]) -> None:
    """Nothing is doubled or half undone, nothing is owed, and nobody had to be called."""
    completed = {saga_id for saga_id, state in states.items() if state == "completed"}
    summed = asyncio.run(_balance(place, completed))
    assert list(summed.problems) == []
    assert int(summed.lines["orders placed"]) == len(states)
    assert [letter["reason"] for letter in audit.letters(place)] == []
    wait_for(lambda: _owed(place) == 0, "nothing is owed any more", seconds=60)


def _states(place: Place) -> dict[str, str]:
    with psycopg.connect(place.saga_database) as connection:
        return dict(connection.execute("SELECT saga_id, state FROM choreographies").fetchall())


def _events(place: Place) -> int:
    return _count(place.saga_database, "saga_events")


def _owed(place: Place) -> int:
    return _count(place.shop_database, "saga_log WHERE owed_at IS NOT NULL")


def _asked(place: Place) -> int:
    return _count(place.saga_database, "saga_events WHERE type = 'OrderPlaced'")


def _answered(place: Place) -> int:
    """Orders of which the inventory has said something."""
    answers = "('InventoryReserved', 'InventoryRejected')"
    return _count(place.saga_database, f"saga_events WHERE type IN {answers}")


def _count(database: str, what: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(f"SELECT count(*) FROM {what}").fetchone()
        assert row is not None
        return int(row[0])


async def _fill(place: Place) -> None:
    engine = engine_for(place.shop_database, 1)
    async with engine.begin() as connection:
        await books.create_missing(connection)
        await fill(connection)
    await engine.dispose()


async def _balance(place: Place, completed: set[str]) -> books.Books:
    engine = engine_for(place.shop_database, 1)
    try:
        return await books.balance(engine, completed)
    finally:
        await engine.dispose()


async def _remove_queues(place: Place, *services: str) -> None:
    names = place.names
    queues = map(names.choreography_of, services or QUEUES)
    async with await aio_pika.connect(place.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        for queue in queues:
            await channel.queue_delete(queue)
        if not services:
            await channel.queue_delete(names.event_log)
