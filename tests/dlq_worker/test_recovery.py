"""What the worker sends about a letter, how often, and when it holds a letter for done."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from dlq_stories import (
    FORWARD_EXHAUSTED,
    NAMES,
    PAST_PIVOT,
    PAYING,
    REFUND,
    REFUND_FAILED,
    REFUNDING,
    SAGA,
    Facts,
    command_letter,
    delivered,
    exhausted,
    happened,
    letter,
    stored_saga,
)

from dlq_worker import letters
from dlq_worker.alerts import count_interventions
from dlq_worker.letter import FIRST_ID, DeadLetter, read_letter
from dlq_worker.listing import LetterFilter, list_letters, show_letter
from dlq_worker.operations import resolve, retry
from dlq_worker.planning import ReplayPolicy
from dlq_worker.recovery import Recovery
from dlq_worker.rows import StoredLetter
from dlq_worker.statuses import Status
from messaging.contract import EPOCH_HEADER, Direction, command_id_for
from messaging.memory import MemoryBroker
from messaging.memory_server import MemoryServer
from messaging.port import Delivery
from orchestrator.saga.state import (
    CompensationCompleted,
    CompensationFailed,
    StepCompleted,
    StepFailed,
    TimeReached,
)
from orchestrator.store.database import DatabaseStore

pytest_plugins = ["conformance.store_fixtures"]

AT_ONCE = ReplayPolicy(limit=2, base=timedelta(0), maximum=timedelta(0))
PAYMENTS = "saga.commands.PaymentService"


class World:
    """A store, a broker, and the recovery between them."""

    def __init__(self, store: DatabaseStore, server: MemoryServer, broker: MemoryBroker) -> None:
        self.store = store
        self.server = server
        self.broker = broker
        self.facts = Facts()

    async def keep(self, dead: DeadLetter) -> int:
        async with self.store.transaction() as transaction:
            letter_id = await letters.keep(transaction, dead, is_repeated=False)
        assert letter_id
        return letter_id

    async def look(self, policy: ReplayPolicy = AT_ONCE, times: int = 1) -> None:
        recovery = Recovery(
            self.broker,
            self.store,
            NAMES,
            policy=policy,
            observe=self.facts,
            on_alert=lambda: None,
        )
        for _ in range(times):
            await recovery.look()

    async def letter(self, letter_id: int) -> StoredLetter:
        return (await show_letter(self.store, letter_id)).view.stored

    async def actions(self, letter_id: int) -> list[str]:
        return [each.action for each in (await show_letter(self.store, letter_id)).actions]

    async def sent(self, queue: str) -> list[Delivery]:
        """Everything that has come to a queue, taken out of it."""
        waiting = self.server.queues[queue].depth
        if not waiting:
            return []
        consumer = await self.broker.consume(queue, prefetch=100)
        taken = await consumer.receive(100)
        await consumer.ack(taken)
        await consumer.close()
        return list(taken)

    async def exhausted(self, attempt: int = 1) -> int:
        saga = await stored_saga(self.store, *REFUND_FAILED)
        dead = read_letter(delivered(exhausted(saga)), NAMES)
        return await self.keep(replace(dead, attempt=attempt))


@pytest.fixture
def world(store: DatabaseStore, server: MemoryServer, broker: MemoryBroker) -> World:
    return World(store, server, broker)


def body_of(delivery: Delivery) -> Mapping[str, Any]:
    body: Mapping[str, Any] = json.loads(delivery.body)
    return body


async def test_a_replay_is_the_same_command_with_the_next_attempt(world: World) -> None:
    letter_id = await world.exhausted(attempt=5)
    await world.look()
    (command,) = await world.sent(PAYMENTS)
    assert (command.routing_key, command.type) == (REFUND, REFUND)
    assert command.correlation_id == SAGA
    assert command.headers["saga-command-id"] == command_id_for(SAGA, "pay", Direction.COMPENSATION)
    assert command.headers["saga-attempt"] == 6
    assert command.headers["saga-direction"] == "compensation"
    assert not {"saga-reason", "saga-error"} & command.headers.keys()
    assert body_of(command)["original_result"] == {"payment_id": "p-1"}
    stored = await world.letter(letter_id)
    assert (stored.status, stored.replays) == (Status.REPLAYING, 1)
    assert await world.actions(letter_id) == ["arrived", "replayed"]


async def test_a_replay_asks_in_the_epoch_in_which_its_saga_lives(world: World) -> None:
    saga = await stored_saga(world.store, *REFUND_FAILED)
    dead = read_letter(delivered(exhausted(saga)), NAMES)
    await world.keep(replace(dead, headers={**dead.headers, EPOCH_HEADER: "0"}))
    await world.look()
    (command,) = await world.sent(PAYMENTS)
    assert command.headers[EPOCH_HEADER] == saga.epoch


async def test_after_the_last_replay_a_person_is_called_and_nothing_more_is_sent(
    world: World,
) -> None:
    letter_id = await world.exhausted(attempt=5)
    await world.look(times=6)
    commands = await world.sent(PAYMENTS)
    assert [command.headers["saga-attempt"] for command in commands] == [6, 7]
    stored = await world.letter(letter_id)
    assert (stored.status, stored.replays) == (Status.OPEN, 2)
    assert await world.actions(letter_id) == ["arrived", "replayed", "replayed", "alerted"]
    assert await count_interventions(world.store) == 1


async def test_a_replay_waits_for_its_time(world: World) -> None:
    letter_id = await world.exhausted()
    await world.look(ReplayPolicy(base=timedelta(hours=1), maximum=timedelta(hours=1)), times=3)
    assert await world.sent(PAYMENTS) == []
    stored = await world.letter(letter_id)
    assert stored.next_replay_at == stored.last_seen + timedelta(hours=1)


async def test_a_letter_is_resolved_only_when_its_saga_has_really_moved(world: World) -> None:
    letter_id = await world.exhausted()
    await world.look()
    assert (await world.letter(letter_id)).status is Status.REPLAYING
    await happened(world.store, CompensationCompleted(step="pay"))
    await world.look()
    stored = await world.letter(letter_id)
    assert (stored.status, stored.closed_by) == (Status.RESOLVED, "dlq worker")
    assert stored.closed_reason == "step pay is compensated"


async def test_a_saga_that_moves_after_the_alert_closes_letter_and_alert(world: World) -> None:
    letter_id = await world.exhausted()
    await world.look(ReplayPolicy(limit=0))
    assert await count_interventions(world.store) == 1
    await happened(world.store, CompensationCompleted(step="pay"))
    await world.look()
    assert (await world.letter(letter_id)).status is Status.RESOLVED
    assert await count_interventions(world.store) == 0


async def test_a_retry_by_hand_keeps_the_letter_until_the_compensation_is_done(
    world: World,
) -> None:
    letter_id = await world.exhausted()
    await world.look(ReplayPolicy(limit=0))
    await retry(world.store, [letter_id], reason="r", by="anna")
    await world.look(times=3)
    assert (await world.letter(letter_id)).status is Status.REPLAYING
    assert await world.sent(PAYMENTS) == [], "the orchestrator sends it, not we"
    await happened(world.store, TimeReached())
    await happened(world.store, CompensationCompleted(step="pay"))
    await world.look()
    assert (await world.letter(letter_id)).status is Status.RESOLVED


async def test_a_retry_by_hand_that_fails_again_reopens_the_letter(world: World) -> None:
    letter_id = await world.exhausted()
    await world.look(times=5)
    await retry(world.store, [letter_id], reason="r", by="anna")
    await happened(world.store, TimeReached())
    saga = await happened(world.store, CompensationFailed(step="pay", error="still down"))
    again = await world.keep(read_letter(delivered(exhausted(saga)), NAMES))
    assert again == letter_id
    stored = await world.letter(letter_id)
    assert (stored.status, stored.times_seen, stored.replays) == (Status.OPEN, 2, 0)
    await world.sent(PAYMENTS)
    await world.look()
    (command,) = await world.sent(PAYMENTS)
    assert command.headers["saga-attempt"] == 3
    assert await count_interventions(world.store) == 1, "the alert is still the same"


async def test_a_letter_whose_saga_has_moved_on_before_is_superseded(world: World) -> None:
    letter_id = await world.exhausted()
    await happened(world.store, CompensationCompleted(step="pay"))
    await world.look()
    assert (await world.letter(letter_id)).status is Status.SUPERSEDED
    assert await world.sent(PAYMENTS) == []


async def test_a_command_that_killed_its_participant_is_answered_for_it(world: World) -> None:
    await stored_saga(world.store, *PAYING)
    letter_id = await world.keep(command_letter())
    await world.look()
    (answer,) = await world.sent(NAMES.replies)
    assert answer.type == "SagaStepFailed"
    assert body_of(answer)["effect"] == "unknown"
    command_id = command_id_for(SAGA, "pay", Direction.ACTION)
    assert (answer.headers["saga-command-id"], answer.headers["saga-attempt"]) == (command_id, 1)
    assert await world.actions(letter_id) == ["arrived", "answered"]
    await happened(world.store, StepFailed(step="pay", error="e", effect_unknown=True))
    await world.look()
    assert (await world.letter(letter_id)).status is Status.RESOLVED


async def test_a_compensation_that_killed_its_participant_fails_in_its_name(
    world: World,
) -> None:
    await stored_saga(world.store, *REFUNDING)
    await world.keep(command_letter(command=REFUND, direction="compensation"))
    await world.look()
    (answer,) = await world.sent(NAMES.replies)
    assert answer.type == "SagaCompensationFailed"


async def test_every_attempt_that_dies_is_answered(world: World) -> None:
    await stored_saga(world.store, *PAYING)
    for attempt in (1, 2, 3, 4, 5):
        await world.keep(command_letter(attempt=attempt))
        await world.look()
    assert len(await world.sent(NAMES.replies)) == 5


async def test_a_reply_that_ran_into_the_delivery_limit_is_sent_again_three_times(
    world: World,
) -> None:
    await stored_saga(world.store, *PAYING)
    dead = delivered_reply()
    letter_id = await world.keep(read_letter(dead, NAMES))
    for time in (1, 2, 3):
        await world.look(times=3)
        (reply,) = await world.sent(NAMES.replies)
        assert (reply.type, reply.body) == (dead.type, dead.body)
        assert reply.headers["saga-command-id"] == "command-1"
        assert "x-death" not in reply.headers
        came_back = replace(dead, message_id=f"again-{time}", headers=reply.headers)
        assert reply.headers[FIRST_ID] == "first"
        assert await world.keep(read_letter(came_back, NAMES)) == letter_id
    await world.look(times=3)
    assert await world.sent(NAMES.replies) == []
    stored = await world.letter(letter_id)
    assert (stored.status, stored.replays, stored.times_seen) == (Status.OPEN, 3, 4)
    assert await world.actions(letter_id) == [
        *("arrived", "sent again", "came again", "sent again", "came again", "sent again"),
        *("came again", "alerted"),
    ]


async def test_a_reply_sent_again_is_resolved_when_its_saga_has_taken_it(world: World) -> None:
    await stored_saga(world.store, *PAYING)
    letter_id = await world.keep(read_letter(delivered_reply(), NAMES))
    await world.look(times=3)
    assert (await world.letter(letter_id)).status is Status.REPLAYING
    await happened(world.store, StepCompleted(step="pay"))
    await world.look()
    assert (await world.letter(letter_id)).status is Status.RESOLVED


def delivered_reply() -> Delivery:
    body = {"saga_id": SAGA, "step_name": "pay", "result": {}}
    return replace(
        delivered(exhausted_reply_message(body)),
        routing_key=NAMES.replies,
        type="SagaStepCompleted",
        message_id="first",
        headers={
            "saga-command-id": "command-1",
            "saga-attempt": 1,
            "x-death": [{"reason": "delivery_limit", "routing-keys": ["SagaStepCompleted"]}],
        },
    )


def exhausted_reply_message(body: Mapping[str, Any]) -> Any:
    from messaging.port import Outgoing

    return Outgoing(
        exchange=NAMES.replies,
        routing_key="SagaStepCompleted",
        type="SagaStepCompleted",
        body=json.dumps(body).encode(),
        correlation_id=SAGA,
    )


async def test_garbage_is_kept_and_never_sent(world: World) -> None:
    letter_id = await world.keep(
        letter("rejected.saga.replies", b"{", headers={"saga-reason": "bad_json"})
    )
    await world.look(times=3)
    assert await world.sent(NAMES.replies) == []
    assert (await world.letter(letter_id)).status is Status.OPEN
    assert await count_interventions(world.store) == 0
    (view,) = await list_letters(world.store)
    assert view.alert
    assert view.alert.severity == "warning"


async def test_garbage_that_a_person_wants_sent_is_sent_and_closed(world: World) -> None:
    dead = letter("rejected.saga.replies", b"{}", type="SagaStepCompleted")
    letter_id = await world.keep(dead)
    await world.look()
    await retry(world.store, [letter_id], reason="fixed", by="anna")
    await world.look(times=2)
    assert len(await world.sent(NAMES.replies)) == 1
    stored = await world.letter(letter_id)
    assert (stored.status, stored.closed_reason) == (
        Status.RESOLVED,
        "sent again by hand; it reopens if it comes back",
    )


async def test_a_step_past_the_pivot_calls_a_person_until_it_moves(world: World) -> None:
    saga = await stored_saga(world.store, *FORWARD_EXHAUSTED, plan=PAST_PIVOT)
    letter_id = await world.keep(read_letter(delivered(exhausted(saga)), NAMES))
    await world.look(times=2)
    assert await count_interventions(world.store) == 1
    await happened(world.store, StepCompleted(step="ship"))
    await world.look()
    assert (await world.letter(letter_id)).status is Status.RESOLVED
    assert await count_interventions(world.store) == 0


async def test_what_the_broker_did_not_confirm_is_not_counted_and_sent_later(
    world: World,
) -> None:
    letter_id = await world.exhausted()
    world.server.refuse_publishes(1)
    await world.look()
    assert (await world.letter(letter_id)).replays == 0
    await world.look()
    assert len(await world.sent(PAYMENTS)) == 1
    assert (await world.letter(letter_id)).replays == 1


async def test_what_no_queue_takes_is_counted_so_that_a_person_hears_of_it(world: World) -> None:
    letter_id = await world.exhausted()
    world.server.delete_queue(PAYMENTS)
    await world.look(times=5)
    stored = await world.letter(letter_id)
    assert (stored.status, stored.replays) == (Status.OPEN, 2)
    reasons = [each.reason for each in (await show_letter(world.store, letter_id)).actions]
    assert f"no queue is bound for {REFUND}" in reasons


async def test_a_crash_between_lease_and_count_replays_once_more_after_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter_id = await world.exhausted()
    with monkeypatch.context() as patch:
        patch.setattr(Recovery, "_record", _crash)
        with pytest.raises(KeyboardInterrupt):
            await world.look()
    await world.look(times=2)
    assert len(await world.sent(PAYMENTS)) == 1, "the lease holds"
    await _end_lease(world, letter_id)
    await world.look()
    assert len(await world.sent(PAYMENTS)) == 1
    assert (await world.letter(letter_id)).replays == 1


async def _crash(*_: object) -> None:
    raise KeyboardInterrupt


async def _end_lease(world: World, letter_id: int) -> None:
    async with world.store.transaction() as transaction:
        await letters.change(transaction, letter_id, next_replay_at=transaction.now)


async def test_a_letter_that_a_person_closes_while_it_is_sent_stays_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter_id = await world.exhausted()
    publish = world.broker.publish

    async def publish_slowly(messages: Any) -> Any:
        receipts = await publish(messages)
        await resolve(world.store, letter_id, reason="by phone", by="anna")
        return receipts

    monkeypatch.setattr(world.broker, "publish", publish_slowly)
    await world.look(times=2)
    stored = await world.letter(letter_id)
    assert (stored.status, stored.closed_by, stored.replays) == (Status.RESOLVED, "anna", 0)


async def test_a_replay_that_another_worker_has_counted_meanwhile_is_not_counted_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter_id = await world.exhausted()
    publish = world.broker.publish

    async def publish_slowly(messages: Any) -> Any:
        monkeypatch.setattr(world.broker, "publish", publish)
        await _end_lease(world, letter_id)
        await world.look()
        return await publish(messages)

    monkeypatch.setattr(world.broker, "publish", publish_slowly)
    await world.look()
    assert (await world.letter(letter_id)).replays == 1
    assert len(await world.sent(PAYMENTS)) == 2, "at least once"


async def test_two_workers_replay_each_letter_once(world: World) -> None:
    for n in range(20):
        saga = await stored_saga(world.store, *REFUND_FAILED, saga_id=f"order-{n}")
        await world.keep(read_letter(delivered(exhausted(saga)), NAMES))
    once = ReplayPolicy(limit=1, base=timedelta(0), maximum=timedelta(0))
    await asyncio.gather(world.look(once), world.look(once))
    commands = await world.sent(PAYMENTS)
    assert len(commands) == 20
    assert len({command.correlation_id for command in commands}) == 20


async def test_a_saga_that_cannot_be_read_calls_a_person_and_stops_nobody(world: World) -> None:
    import sqlalchemy as sa

    from orchestrator.store.tables import sagas

    letter_id = await world.exhausted()
    steps = sa.literal('[{"status": "of tomorrow"}]', sa.Text)
    async with world.store.transaction() as transaction:
        await transaction.execute(sa.update(sagas).values(steps=sa.cast(steps, sagas.c.steps.type)))
    await world.look(times=3)
    stored = await world.letter(letter_id)
    assert stored.status is Status.OPEN
    assert stored.next_replay_at is None
    assert await count_interventions(world.store) == 1


async def test_closed_letters_are_never_looked_at_again(world: World) -> None:
    letter_id = await world.exhausted()
    await resolve(world.store, letter_id, reason="r", by="anna")
    await happened(world.store, CompensationCompleted(step="reserve"))
    assert await letters.due_letters(world.store, 10) == []
    closed = LetterFilter(statuses=frozenset({Status.RESOLVED}))
    assert len(await list_letters(world.store, closed)) == 1
