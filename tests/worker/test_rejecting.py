"""What the worker cannot process becomes a dead letter, and its neighbours go on."""

import pytest
import sqlalchemy as sa

from chassis.facts import MessageRejected
from messaging import codec
from messaging.port import Outgoing
from orchestrator.store.tables import sagas
from tests.worker.stage import Desk, Stage, reply_to


def reply(stage: Stage, body: bytes, kind: str = "SagaStepCompleted") -> Outgoing:
    return Outgoing(
        exchange=stage.names.replies,
        routing_key=kind,
        type=kind,
        body=body,
        correlation_id="trip-1",
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{not json", "bad_json"),
        (b'{"saga_id": "trip-1"}', "bad_field"),
        (b'{"saga_id": "nowhere", "step_name": "flight", "result": {}}', "unknown_saga"),
        (b'{"saga_id": "trip-1", "step_name": "walk", "result": {}}', "out_of_sequence"),
        (b'{"saga_id": "trip-1", "step_name": "hotel", "result": {}}', "out_of_sequence"),
    ],
)
async def test_a_bad_reply_is_a_dead_letter_and_its_neighbours_go_on(
    stage: Stage, desk: Desk, body: bytes, reason: str
) -> None:
    async with stage.working():
        await desk.start("trip-1")
        flight = await desk.command("TestService")
        good = codec.encode_reply(stage.names, reply_to(flight))
        await desk.send(reply(stage, body), good, reply(stage, b"\xff"))
        letters = [await desk.dead_letter() for _ in range(2)]
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
    by_reason = {letter.headers["saga-reason"]: letter for letter in letters}
    assert by_reason.keys() == {reason, "bad_encoding"}
    assert by_reason[reason].body == body
    assert by_reason[reason].routing_key == f"rejected.{stage.names.replies}"
    told = {fact.reason: fact.saga_id for fact in stage.facts_of(MessageRejected)}
    assert told[reason] == "trip-1"  # as the message's properties say


async def test_a_saga_that_cannot_be_read_spoils_only_its_own_messages(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working():
        for number in range(5):
            await desk.start(f"trip-{number}")
        flights = [await desk.command("TestService") for _ in range(5)]
        async with stage.store.transaction() as transaction:
            spoil = sa.update(sagas).where(sagas.c.saga_id == "trip-2")
            await transaction.execute(spoil.values(steps='{"of": "another release"}'))
        await desk.send(*(codec.encode_reply(stage.names, reply_to(each)) for each in flights))
        letter = await desk.dead_letter()
        for _ in range(4):
            await desk.carry_out("OtherService")
        for number in (0, 1, 3, 4):
            assert await desk.ends(f"trip-{number}") == "completed"
    assert letter.headers["saga-reason"] == "store_rejected"
    assert "trip-2" in str(letter.headers["saga-error"])


async def test_only_the_participants_own_user_may_answer_where_that_is_required(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working(require_user_id=True):
        await desk.start("trip-1")
        await desk.carry_out("TestService")
        letter = await desk.dead_letter()
        view = await desk.show("trip-1")
    assert letter.headers["saga-reason"] == "unauthorised"
    assert view.state == "started"


async def test_a_named_user_may_answer_for_a_participant(stage: Stage, desk: Desk) -> None:
    users = f"TestService={desk.user},OtherService={desk.user}"
    async with stage.working(require_user_id=True, participant_users=users):
        await desk.start("trip-1")
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
