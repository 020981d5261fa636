"""A worker whose database turns out to be in another epoch undoes what was under way."""

from dataclasses import replace

from chassis.facts import Noticed, SagaAdvanced
from messaging.port import Outgoing
from orchestrator.worker.confirming import confirm_published
from orchestrator.worker.publisher import Post
from tests.store.sagas import decided
from tests.worker.stage import Desk, Stage, until


async def test_sagas_of_another_epoch_are_found_and_undone(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1")
        booking = await desk.command("TestService")
        assert booking.epoch
    async with stage.store.transaction() as transaction:
        saga = (await transaction.lock(["trip-1"]))["trip-1"]
        aged = decided(replace(saga, epochs=("0",)))
        await transaction.save([aged])
    async with stage.working():
        undoing = await desk.command("OtherService")  # never asked for, as far as the row knows
        assert (undoing.direction, undoing.step_name) == ("compensation", "hotel")
        await desk.answer(undoing)
        await desk.answer(await desk.command("TestService"))
        assert await desk.ends("trip-1") == "failed"
        await until(lambda: any("in doubt" in each.message for each in stage.facts_of(Noticed)))
    notes = [move.note for fact in stage.facts_of(SagaAdvanced) for move in fact.moves]
    assert "in doubt" in notes


async def test_what_was_sent_in_a_lost_life_is_not_confirmed_to_a_saga_asked_for_again(
    stage: Stage, desk: Desk
) -> None:
    await desk.client.start("Trip", {}, saga_id="trip-1")
    async with stage.store.transaction() as transaction:
        asked = (await transaction.lock(["trip-1"]))["trip-1"]
    back = Post(message=Outgoing(exchange="", routing_key="", type="", body=b""), saga_id="trip-1")
    await confirm_published(stage.store, [], [back._replace(step="flight", epoch="0")])
    await confirm_published(stage.store, [replace(asked, epochs=("0",))], [])
    async with stage.working():
        assert (await desk.command("TestService")).step_name == "flight"
