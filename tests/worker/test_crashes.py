"""A worker is killed between two of its steps, and the next one makes it good."""

from tests.faults.brokers import ForgetfulBroker, MuteBroker
from tests.worker.stage import ON_BOTH_WAYS, Desk, Stage, statuses, until

pytestmark = ON_BOTH_WAYS


async def test_killed_after_the_commit_before_publishing(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1")
        flight = await desk.command("TestService")
    mute = MuteBroker(stage.new_broker())
    async with stage.doomed(mute):
        await desk.answer(flight)
        await until(lambda: bool(mute.swallowed))
    assert statuses(await desk.show("trip-1"))["hotel"] == "executing"
    async with stage.working():
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"


async def test_killed_before_publishing_the_first_command(stage: Stage, desk: Desk) -> None:
    mute = MuteBroker(stage.new_broker())
    async with stage.doomed(mute):
        await desk.start("trip-1")
        await until(lambda: bool(mute.swallowed))
    async with stage.working():
        await desk.carry_out("TestService")


async def test_killed_after_publishing_before_the_acknowledgement(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1")
        flight = await desk.command("TestService")
    forgetful = ForgetfulBroker(stage.new_broker())
    async with stage.doomed(forgetful):
        await desk.answer(flight)
        await until(lambda: bool(forgetful.published))
    async with stage.working():
        first, again = [await desk.delivery("OtherService") for _ in range(2)]
    assert first.message_id != again.message_id
    assert first.headers["saga-command-id"] == again.headers["saga-command-id"]
    assert first.body == again.body
    history = (await desk.show("trip-1")).history
    assert [line.version for line in history] == list(range(1, len(history) + 1))


async def test_killed_in_the_clocks_work(stage: Stage, desk: Desk) -> None:
    mute = MuteBroker(stage.new_broker())
    async with stage.doomed(mute):
        saga_id = await desk.client.start("Trip", {})
        await until(lambda: bool(mute.swallowed))
    async with stage.working():
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        assert await desk.ends(saga_id) == "completed"


async def test_a_dead_letter_survives_the_death_of_its_worker(stage: Stage, desk: Desk) -> None:
    mute = MuteBroker(stage.new_broker())
    async with stage.doomed(mute):
        await desk.start("trip-1", "Cruise")
        await until(lambda: bool(mute.swallowed))
    async with stage.working():
        letter = await desk.dead_letter()
    assert letter.headers["saga-reason"] == "unknown_saga_type"


async def test_a_worker_that_drains_leaves_the_rest_to_the_next(
    stage: Stage, desk: Desk, serving: object
) -> None:
    assert serving
    sagas = [f"trip-{number}" for number in range(60)]
    for _ in range(3):
        async with stage.working():
            for saga_id in sagas:
                await desk.start(saga_id)
    async with stage.working():
        assert {await desk.ends(saga_id) for saga_id in sagas} == {"completed"}
