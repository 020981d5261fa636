"""A saga that was purged is unknown: to late replies, and to a start that comes again."""

from datetime import timedelta

from messaging import codec
from orchestrator.store.purging import Purge, old_sagas
from orchestrator.store.tables import sagas
from tests.worker.stage import Desk, Stage, reply_to

_DAY = timedelta(days=1)


async def _purged(stage: Stage) -> None:
    """Whatever has completed, as if it had been long ago."""
    async with stage.store.transaction() as transaction:
        long_ago = {"ended_at": transaction.now - 31 * _DAY}
        completed = sagas.update().where(sagas.c.state == "completed")
        await transaction.execute(completed.values(long_ago))
    old = old_sagas(completed=30 * _DAY, failed=None)
    purge = Purge(stage.store, old, by="anna", reason="x")
    assert not await purge.some(10)
    assert purge.deleted == {"completed": 1}


async def test_a_late_reply_of_a_purged_saga_is_a_dead_letter_that_says_so(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working():
        await desk.start("trip-1")
        flight = await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
        await _purged(stage)
        assert await desk.client.show("trip-1") is None
        await desk.send(codec.encode_reply(stage.names, reply_to(flight)))
        letter = await desk.dead_letter()
    assert letter.headers["saga-reason"] == "unknown_saga"
    assert letter.headers["saga-error"] == "there is no saga trip-1: never started here, or purged"


async def test_a_start_with_the_id_of_a_purged_saga_begins_it_anew_under_the_same_command_ids(
    stage: Stage, desk: Desk
) -> None:
    """So that participants who remember it answer from memory."""
    async with stage.working():
        await desk.start("trip-1", to="Rome")
        first = await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
        await _purged(stage)
        await desk.start("trip-1", to="Rome")
        desk.seen.clear()
        again = await desk.command("TestService")
    assert (again.saga_id, again.command_id) == ("trip-1", first.command_id)
