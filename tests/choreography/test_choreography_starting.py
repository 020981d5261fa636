"""Where sagas begin: the first event is stored with the service's own rows, then published."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from messaging.errors import Refused
from participants import Choreography, Emit
from participants.choreography.starting import Start
from tests.choreography.conftest import ON_SQL, Stage
from tests.choreography.services import Diary, first_service
from tests.conformance.place_fixtures import ON_SQLITE
from tests.participants.desk import running

BEGUN = Start(saga_id="order-1", emit=Emit("Begun", {"thing": "tea"}), correlation_id="web-7")


@pytest.fixture
def first() -> Choreography:
    return first_service(Diary())


async def test_a_start_carries_what_all_later_events_carry_on(
    stage: Stage, first: Choreography
) -> None:
    runner = await stage.runner(first)
    async with running(runner):
        assert await runner.starts.start(first, BEGUN)
        begun = await stage.ear.hear("Begun")
    assert begun.saga.saga_type == "TestSaga"
    assert begun.saga.correlation_id == "web-7"
    assert begun.saga.quiet_after is not None
    assert begun.saga.hops == 0


async def test_the_same_start_again_publishes_the_same_event(
    stage: Stage, first: Choreography
) -> None:
    runner = await stage.runner(first)
    async with running(runner):
        assert await runner.starts.start(first, BEGUN)
        once = await stage.ear.hear("Begun")
        assert not await runner.starts.start(first, BEGUN)
        again = await stage.ear.hear("Begun")
    assert once == again


async def test_other_data_under_the_same_id_are_refused(stage: Stage, first: Choreography) -> None:
    runner = await stage.runner(first)
    async with running(runner):
        await runner.starts.start(first, BEGUN)
        other = Start(saga_id="order-1", emit=Emit("Begun", {"thing": "coffee"}))
        with pytest.raises(Refused, match="has begun with other data"):
            await runner.starts.start(first, other)


async def test_what_begins_no_saga_is_refused(stage: Stage, first: Choreography) -> None:
    runner = await stage.runner(first)
    with pytest.raises(Refused, match="First begins sagas with Begun, not with 'Done'"):
        await runner.starts.start(first, Start(saga_id="order-1", emit=Emit("Done")))
    with pytest.raises(Refused, match="'a b' is no saga id"):
        await runner.starts.start(first, Start(saga_id="a b", emit=Emit("Begun")))


@ON_SQL
async def test_own_rows_and_the_event_are_stored_together_or_neither(
    stage: Stage, first: Choreography
) -> None:
    runner = await stage.runner(first)

    async def fail(session: AsyncSession) -> None:
        await session.execute(text("CREATE TABLE mine (id integer)"))
        raise RuntimeError("no")

    async with running(runner):
        with pytest.raises(RuntimeError):
            await runner.starts.start(first, BEGUN, fail)
        assert await runner.starts.start(first, BEGUN)


@ON_SQLITE
async def test_a_start_while_the_broker_is_away_is_published_by_the_sweep(
    stage: Stage, first: Choreography
) -> None:
    runner = await stage.runner(first, sweep_after=timedelta(0))
    await runner.prepare()
    stage.server.refuse_publishes(1)
    assert await runner.starts.start(first, BEGUN)
    async with running(runner):
        assert (await stage.ear.hear("Begun")).data == {"thing": "tea"}
