"""What the dlq worker sends again is known by its first identity: see `dlq_worker.sending`."""

from dataclasses import replace

import pytest

from messaging import codec
from messaging.contract import Reply, ReplyType
from messaging.port import Delivery
from orchestrator.backoff import retry_delay
from orchestrator.saga.decide import decide
from orchestrator.saga.state import StepCompleted
from orchestrator.worker.intake import cause_of, comes_again
from tests.worker.stage import Desk, Stage

FIRST_ID = "saga-first-message-id"


async def saved_and_not_sent(stage: Stage, cause: str) -> None:
    """A worker has died between its commit and its publish, so often that the broker gave up."""
    async with stage.store.transaction() as transaction:
        saga = (await transaction.lock(["trip-1"]))["trip-1"]
        done = StepCompleted(step="flight", cause=cause)
        decision = decide(saga, done, now=transaction.now, delay=retry_delay)
        await transaction.save([decision])


async def test_what_a_reply_has_brought_about_is_sent_when_the_dlq_worker_repeats_it(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working():
        await desk.start("trip-1")
        await desk.command("TestService")
    await saved_and_not_sent(stage, "reply-1")
    reply = Reply(type=ReplyType.STEP_COMPLETED, saga_id="trip-1", step_name="flight", result={})
    message = codec.encode_reply(stage.names, reply)
    again = replace(message, headers={**message.headers, FIRST_ID: "reply-1"})
    async with stage.working():
        await desk.send(again)
        assert (await desk.command("OtherService")).step_name == "hotel"


@pytest.mark.parametrize(
    ("first", "cause", "again"), [(None, "m2", False), ("m1", "m1", True), (7, "m2", False)]
)
def test_only_the_dlq_workers_header_names_another_message(
    first: object, cause: str, again: bool
) -> None:
    headers = {} if first is None else {FIRST_ID: first}
    delivery = Delivery(
        queue="saga.replies",
        exchange="saga.replies",
        routing_key="SagaStepCompleted",
        body=b"{}",
        tag=1,
        session=1,
        message_id="m2",
        headers=headers,
    )
    assert (cause_of(delivery), comes_again(delivery)) == (cause, again)


def test_a_message_without_an_id_is_known_by_what_it_says() -> None:
    delivery = Delivery(
        queue="saga.replies",
        exchange="saga.replies",
        routing_key="SagaStepCompleted",
        body=b"{}",
        tag=1,
        session=1,
    )
    repeated = replace(delivery, message_id="m2", headers={FIRST_ID: ""})
    assert cause_of(repeated) == cause_of(delivery)
