"""The whole worker, between a real queue, a real database and a real receiver of alerts."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from dlq_stories import (
    PAYING,
    REFUND_FAILED,
    SAGA,
    Facts,
    exhausted,
    happened,
    stored_saga,
    until,
)
from http_receiver import Receiver, receiving

from chassis.facts import GaugeMeasured
from chassis.settings import DlqSettings
from dlq_worker.listing import LetterFilter, list_letters
from dlq_worker.operations import acknowledge, resolve
from dlq_worker.statuses import Status
from dlq_worker.views import LetterView
from dlq_worker.worker import DlqWorker
from messaging.brokers import broker_for, memory_server
from messaging.codec import encode_command
from messaging.contract import Command, Direction, command_id_for
from messaging.port import Broker, Delivery, Receipt
from messaging.topology import Names, TopologyMode, installation
from orchestrator.saga.state import CompensationCompleted
from orchestrator.store.database import DatabaseStore

pytest_plugins = ["conformance.store_fixtures"]

ANY = LetterFilter(statuses=None)
QUICK: dict[str, Any] = {
    "poll_interval": timedelta(milliseconds=20),
    "replay_base": timedelta(seconds=1),
    "alert_repeat_every": timedelta(hours=1),
}


class Place:
    """An installation: names, broker, store."""

    def __init__(self, names: Names, url: str, store: DatabaseStore) -> None:
        self.names = names
        self.url = url
        self.store = store
        self.facts = Facts()

    def broker(self, app_id: str) -> Broker:
        return broker_for(
            self.url,
            names=self.names,
            topology=installation(self.names, ["PaymentService"]),
            mode=TopologyMode.DECLARE,
            app_id=app_id,
        )

    @asynccontextmanager
    async def working(self, **settings: Any) -> AsyncIterator[Broker]:
        """A worker that runs meanwhile, and is stopped as an operator would."""
        chosen = DlqSettings(namespace=self.names.namespace, **{**QUICK, **settings})
        stopping = asyncio.Event()
        async with self.broker("dlq-worker") as broker:
            worker = DlqWorker(broker, self.store, chosen, self.facts)
            running = asyncio.create_task(worker.run(stopping))
            await broker.wait_ready(20)
            yield broker
            stopping.set()
            await asyncio.wait_for(running, 20)

    async def has(self, status: Status) -> LetterView | None:
        views = await list_letters(self.store, ANY)
        return next((view for view in views if view.stored.status is status), None)


@pytest.fixture(params=["memory", "rabbitmq"])
def place(request: pytest.FixtureRequest, store: DatabaseStore) -> Place:
    if request.param == "memory":
        names = Names("saga")
        return Place(names, f"memory://{request.node.name}", store)
    names = request.getfixturevalue("names")
    return Place(names, request.getfixturevalue("amqp_url"), store)


@pytest.fixture
def memory_place(request: pytest.FixtureRequest, store: DatabaseStore) -> Place:
    return Place(Names("saga"), f"memory://{request.node.name}", store)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


async def _received(broker: Broker, queue: str) -> Sequence[Delivery]:
    consumer = await broker.consume(queue, prefetch=10)
    async with asyncio.timeout(20):
        deliveries = await consumer.receive(10)
    await consumer.ack(deliveries)
    await consumer.close()
    return deliveries


async def test_an_exhausted_compensation_is_replayed_and_resolved_when_it_is_done(
    place: Place,
) -> None:
    saga = await stored_saga(place.store, *REFUND_FAILED)
    async with place.working() as broker:
        await broker.publish([exhausted(saga, place.names)])
        (command,) = await _received(broker, place.names.commands_for("PaymentService"))
        assert command.headers["saga-attempt"] == 2
        assert json.loads(command.body)["saga_id"] == SAGA
        await happened(place.store, CompensationCompleted(step="pay"))
        view = await until(lambda: place.has(Status.RESOLVED))
    assert view.stored.replays == 1


async def test_what_cannot_be_recovered_calls_a_person_until_it_is_resolved(
    place: Place, receiver: Receiver
) -> None:
    saga = await stored_saga(place.store, *REFUND_FAILED)
    settings = {
        "replay_limit": 0,
        "alert_webhook_url": receiver.url,
        "alertmanager_url": receiver.url,
    }
    async with place.working(**settings) as broker:
        await broker.publish([exhausted(saga, place.names)])
        await until(lambda: _count(receiver, 2))
        view = await until(lambda: place.has(Status.OPEN))
        await resolve(place.store, view.id, reason="refunded by phone", by="anna")
        await until(lambda: _count(receiver, 4))
    hooks = [post.json for post in receiver.posts if post.path == "/"]
    assert [hook["status"] for hook in hooks] == ["firing", "resolved"]
    assert hooks[0]["commands"][2] == f"saga dlq retry {view.id}"
    first, last = [post.json[0] for post in receiver.posts if post.path == "/api/v2/alerts"]
    assert first["labels"] == last["labels"]
    assert last["endsAt"] < first["endsAt"]


async def test_a_command_that_kills_its_participant_is_answered_by_way_of_a_real_broker(
    amqp_url: str, names: Names, store: DatabaseStore
) -> None:
    place = Place(names, amqp_url, store)
    await stored_saga(store, *PAYING)
    command = Command(
        saga_id=SAGA,
        saga_type="Order",
        step_name="pay",
        direction=Direction.ACTION,
        destination="PaymentService.ProcessPayment",
        command_id=command_id_for(SAGA, "pay", Direction.ACTION),
        attempt=1,
        data={},
    )
    async with place.broker("participant") as participant:
        await participant.wait_ready(20)
        assert await participant.publish([encode_command(names, command)]) == [Receipt.CONFIRMED]
        dying = await participant.consume(names.commands_for("PaymentService"), prefetch=1)
        async with asyncio.timeout(20):
            for _ in range(21):  # the delivery limit and once more
                await dying.release(await dying.receive(1))
        async with place.working() as broker:
            (answer,) = await _received(broker, names.replies)
    assert answer.type == "SagaStepFailed"
    assert json.loads(answer.body)["effect"] == "unknown"
    assert answer.headers["saga-command-id"] == command.command_id
    (view,) = await list_letters(store, ANY)
    assert (view.stored.letter.reason, view.stored.letter.queue) == (
        "delivery_limit",
        names.commands_for("PaymentService"),
    )


async def test_a_worker_that_dies_before_an_alert_has_left_sends_it_when_it_is_back(
    memory_place: Place, receiver: Receiver
) -> None:
    saga = await stored_saga(memory_place.store, *REFUND_FAILED)
    settings = {"replay_limit": 0, "alert_webhook_url": receiver.url}
    receiver.gate.clear()
    async with memory_place.working(**settings) as broker:
        await broker.publish([exhausted(saga)])
        await until(lambda: _count(receiver, 1))
    receiver.gate.set()
    async with memory_place.working(**settings):
        await until(lambda: _count(receiver, 2))
    ids = {post.headers["Idempotency-Key"] for post in receiver.posts}
    assert len(ids) == 1, "it is one alert, and the receiver can tell"


async def test_an_alert_that_has_left_is_not_sent_again_by_a_restart(
    memory_place: Place, receiver: Receiver
) -> None:
    saga = await stored_saga(memory_place.store, *REFUND_FAILED)
    settings = {"replay_limit": 0, "alert_webhook_url": receiver.url}
    async with memory_place.working(**settings) as broker:
        await broker.publish([exhausted(saga)])
        await until(lambda: _is_sent(memory_place))
    async with memory_place.working(**settings) as broker:
        other = await stored_saga(memory_place.store, *REFUND_FAILED, saga_id="order-43")
        await broker.publish([exhausted(other)])
        await until(lambda: _count(receiver, 2))
    assert [post.json["saga_id"] for post in receiver.posts] == [SAGA, "order-43"]


async def test_an_acknowledged_alert_is_not_repeated(
    memory_place: Place, receiver: Receiver
) -> None:
    saga = await stored_saga(memory_place.store, *REFUND_FAILED)
    every_second = {"alert_repeat_every": timedelta(seconds=1)}
    settings = {"replay_limit": 0, "alert_webhook_url": receiver.url, **every_second}
    async with memory_place.working(**settings) as broker:
        await broker.publish([exhausted(saga)])
        await until(lambda: _count(receiver, 2))
        view = await until(lambda: memory_place.has(Status.OPEN))
        await acknowledge(memory_place.store, view.id, by="anna")
        sent = len(receiver.posts)
        other = await stored_saga(memory_place.store, *REFUND_FAILED, saga_id="order-43")
        await broker.publish([exhausted(other)])
        await until(lambda: _has_rounds(receiver, "order-43", 3))
    assert len([post for post in receiver.posts[sent:] if post.json["saga_id"] == SAGA]) <= 1


async def test_gauges_tell_what_is_open(
    memory_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlq_worker.worker._GAUGES_EVERY", timedelta(milliseconds=20))
    saga = await stored_saga(memory_place.store, *REFUND_FAILED)
    async with memory_place.working(replay_limit=0) as broker:
        await broker.publish([exhausted(saga)])
        wanted = ("saga_dead_letters_open", {("compensation_exhausted",): 1.0})
        await until(lambda: _measured(memory_place.facts, *wanted))
        await until(
            lambda: _measured(memory_place.facts, "saga_manual_interventions_open", {(): 1.0})
        )


async def test_letters_outlive_the_loss_of_every_connection(memory_place: Place) -> None:
    saga = await stored_saga(memory_place.store, *REFUND_FAILED)
    async with memory_place.working() as broker:
        memory_server(memory_place.url.removeprefix("memory://")).drop_connections()
        await broker.publish([exhausted(saga)])
        await until(lambda: memory_place.has(Status.REPLAYING))


async def _count(receiver: Receiver, count: int) -> bool:
    return len(receiver.posts) >= count


async def _has_rounds(receiver: Receiver, saga_id: str, count: int) -> bool:
    return len([post for post in receiver.posts if post.json["saga_id"] == saga_id]) >= count


async def _is_sent(place: Place) -> bool:
    import sqlalchemy as sa

    from dlq_worker.tables import alert_deliveries

    sent = sa.select(sa.func.count()).where(
        alert_deliveries.c.sink == "webhook", alert_deliveries.c.ok
    )
    async with place.store.reading() as connection:
        return bool(await connection.scalar(sent))


async def _measured(facts: Facts, name: str, values: dict[tuple[str, ...], float]) -> bool:
    return any(
        isinstance(fact, GaugeMeasured) and fact.name == name and fact.values == values
        for fact in facts.seen
    )
