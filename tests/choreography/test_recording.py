"""The recorder's log, quiet sagas, replays, and the dead letters about all of them."""

from datetime import timedelta
from typing import Any

import pytest

from chassis.facts import DeadLettered, GaugeMeasured
from dlq_worker import operations
from dlq_worker.statuses import Status
from messaging.events import Ending
from orchestrator.recorder.story import story_of, to_replay
from orchestrator.store.database import DatabaseStore
from orchestrator.store.event_log import ask_for_replay, count_open
from orchestrator.store.event_queries import Record, list_choreographies
from participants import Choreography, Emit, EventContext
from tests.choreography.ear import event
from tests.choreography.services import Diary, first_service, second_service
from tests.choreography.world import World, ended, is_alerted

pytest_plugins = ["conformance.store_fixtures"]

SECOND = timedelta(seconds=1)


@pytest.fixture
def world(store: DatabaseStore) -> World:
    return World(store)


async def replay(world: World, record: Record, wanted: str | None = None) -> None:
    ids = [each.event_id for each in to_replay(record, wanted)]
    async with world.store.transaction() as transaction:
        saga_id = record.standing.saga_id
        await ask_for_replay(transaction, saga_id, ids, by="ann", reason="it was down")


def told(record: Record) -> list[tuple[int, str, str | None]]:
    return [(each.depth, each.event.type, each.event.service) for each in story_of(record)]


async def test_the_story_stands_below_its_causes_until_its_end(world: World) -> None:
    diary = Diary()
    async with (
        world.recorder(),
        world.mouth() as mouth,
        world.services(first_service(diary), second_service(diary)),
    ):
        await mouth.tell(event("Asked", thing="tea"))
        record = await world.recorded(lambda one: ended(one) and len(one.events) == 5)
    assert told(record) == [
        (0, "Asked", "Tests"),
        (1, "Done", "First"),
        (2, "Confirmed", "Second"),
        (3, "Ended", "First"),
        (2, "Noted", "Second"),
    ]
    assert record.standing.state == "completed"
    assert [each.gap for each in story_of(record)] == [None] * 5


async def test_an_end_stays_what_it_was(world: World) -> None:
    async with world.recorder(), world.mouth() as mouth:
        await mouth.tell(event("Cancelled", ends=Ending.FAILED))
        await world.recorded(ended)
        await mouth.tell(event("Completed", ends=Ending.COMPLETED))
        record = await world.recorded(lambda one: len(one.events) == 2)
    assert record.standing.state == "failed"


async def test_a_repeated_event_is_counted_and_no_progress(world: World) -> None:
    async with world.recorder(), world.mouth() as mouth:
        await mouth.tell(event("Asked"))
        before = await world.recorded(lambda one: len(one.events) == 1)
        await mouth.tell(event("Asked"))
        after = await world.recorded(lambda one: one.events[0].times_seen == 2)
    assert before.standing == after.standing


async def test_what_is_no_event_of_a_choreography_is_passed_over(world: World) -> None:
    async with world.recorder(), world.mouth() as mouth:
        await mouth.tell_body("OrderCompleted", b'{"saga_id": "order-0"}')
        await mouth.tell_body("Broken", b"{", saga_event_id="e-1")
        await mouth.tell(event("Asked"))
        await world.recorded(lambda one: len(one.events) == 1)
    assert await world.record_of("order-0") is None


async def test_a_saga_that_has_gone_quiet_is_told_of_until_it_goes_on(world: World) -> None:
    diary = Diary()
    async with world.recorder(quiet_after=SECOND), world.dlq_worker(), world.mouth() as mouth:
        await mouth.tell(event("Asked", thing="tea"))
        alerted = await world.letter(is_alerted)
        assert alerted.stored.letter.reason == "choreography_quiet"
        assert alerted.stored.letter.saga_id == "order-1"
        async with world.services(first_service(diary), second_service(diary)):
            await replay(world, await world.recorded(lambda _: True))
            await world.recorded(ended)
            await world.letter(lambda view: view.stored.status is Status.RESOLVED)
    reasons = [fact.reason for fact in world.facts if isinstance(fact, DeadLettered)]
    assert reasons.count("choreography_quiet") >= 1


async def test_retrying_the_letter_sends_the_last_events_again(world: World) -> None:
    diary = Diary()
    async with world.recorder(quiet_after=SECOND), world.dlq_worker(), world.mouth() as mouth:
        await mouth.tell(event("Asked", thing="tea"))
        letter = await world.letter(is_alerted)
        async with world.services(first_service(diary), second_service(diary)):
            [done] = await operations.retry(world.store, [letter.id], reason="try", by="ann")
            assert done.message == "the recorder sends the last events of saga order-1 again"
            await world.recorded(ended)
            await world.letter(lambda view: view.stored.status is Status.RESOLVED)


async def test_quiet_sagas_are_counted_and_listed(world: World) -> None:
    async with world.recorder(quiet_after=SECOND), world.mouth() as mouth:
        await mouth.tell(event("Asked"), event("Asked", "order-2", ends=Ending.COMPLETED))
        await world.recorded(lambda one: one.standing.quiet_since is not None)
    assert await count_open(world.store) == ({"TestSaga": 1}, {"TestSaga": 1})
    quiet = await list_choreographies(world.store, quiet_for=SECOND)
    assert [each.saga_id for each in quiet] == ["order-1"]
    gauges = {fact.name for fact in world.facts if isinstance(fact, GaugeMeasured)}
    assert {"saga_choreographies_open", "saga_choreographies_quiet"} <= gauges


async def test_a_service_whose_queue_was_gone_catches_up_by_a_replay(world: World) -> None:
    diary = Diary()
    first, second = first_service(diary), second_service(diary)
    async with world.recorder(), world.mouth() as mouth:
        async with world.services(first), world.services(second):
            pass
        world.server.delete_queue("t.choreography.Second")
        async with world.services(first):
            await mouth.tell(event("Asked", thing="tea"))
            record = await world.recorded(lambda one: len(one.events) == 2)
            assert story_of(record)[-1].gap == "nothing has followed"
            async with world.services(second):
                await replay(world, record)
                record = await world.recorded(ended)
    assert diary.lines == ["do tea", "confirm tea"]
    assert [(each.by, each.reason) for each in record.replays] == [("ann", "it was down")]


async def test_a_replay_from_the_first_event_reaches_a_gap_anywhere_and_doubles_nothing(
    world: World,
) -> None:
    diary = Diary()
    first, second = first_service(diary), second_service(diary)
    third = Choreography("Third")

    @third.on("Asked")
    async def hear(event: dict[str, Any], context: EventContext) -> Emit:
        diary.write("third")
        return Emit("HeardToo")

    async with (
        world.recorder(),
        world.mouth() as mouth,
        world.services(first),
        world.services(second),
    ):
        await mouth.tell(event("Asked", thing="tea"))
        record = await world.recorded(ended)
        async with world.services(third):
            await replay(world, record, "first")
            await world.recorded(lambda one: one.events[-1].type == "HeardToo")
            await world.recorded(lambda one: one.events[-2].times_seen == 2)
    assert diary.lines == ["do tea", "confirm tea", "third"]


async def test_an_event_that_its_handler_fails_at_is_tried_again_until_it_works(
    world: World,
) -> None:
    failing, calls = Choreography("First"), list[str]()

    @failing.on("Asked")
    async def fail(event: dict[str, Any], context: EventContext) -> Emit:
        calls.append("called")
        if calls.count("called") <= 6:  # three tries when it came, three when it was sent again
            raise RuntimeError("the gateway is away")
        return Emit("Ended")

    failing.ends("Ended")
    other = Choreography("Second")

    @other.on("Asked")
    async def listen(event: dict[str, Any], context: EventContext) -> None:
        calls.append("other")

    async with (
        world.recorder(),
        world.dlq_worker(replay_base=SECOND),
        world.mouth() as mouth,
        world.services(failing, other),
    ):
        await mouth.tell(event("Asked"))
        await world.recorded(ended)
        letter = await world.letter(
            lambda view: view.stored.status is Status.RESOLVED and view.stored.times_seen == 2
        )
    assert calls.count("other") == 1  # it was sent to one service only
    assert letter.stored.letter.reason == "handler_failed"


async def test_an_event_that_its_handler_always_fails_at_is_a_case_for_a_person(
    world: World,
) -> None:
    failing = Choreography("First")

    @failing.on("Asked")
    async def fail(event: dict[str, Any], context: EventContext) -> None:
        raise RuntimeError("it never works")

    async with (
        world.recorder(),
        world.dlq_worker(replay_base=SECOND, replay_limit=0),
        world.mouth() as mouth,
        world.services(failing),
    ):
        await mouth.tell(event("Asked"))
        letter = await world.letter(is_alerted)
    assert letter.alert is not None
    assert letter.alert.summary == "First's handler of Asked fails"
    done = await operations.discard(world.store, letter.id, reason="a trial", by="ann")
    assert done.message == f"dead letter {letter.id} is discarded"


async def test_poison_is_kept_and_its_neighbours_go_on(world: World) -> None:
    diary = Diary()
    async with (
        world.recorder(),
        world.dlq_worker(),
        world.mouth() as mouth,
        world.services(first_service(diary), second_service(diary)),
    ):
        await mouth.tell_body("Asked", b'{"saga_id": ')
        await mouth.tell(event("Asked", thing="tea"))
        await world.recorded(ended)
        letter = await world.letter(is_alerted)
    assert letter.stored.letter.reason == "bad_json"
    assert letter.stored.letter.queue == "t.choreography.First"
