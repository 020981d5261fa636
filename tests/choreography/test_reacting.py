"""Services that react to one another, on every kind of broker and log."""

from collections.abc import Sequence
from typing import Any

from chassis.facts import EventHandled, MessageRejected
from messaging.events import HANDLER_FAILED, Ending
from participants import Choreography, EventContext
from tests.choreography.conftest import Stage
from tests.choreography.ear import event
from tests.choreography.services import Diary, first_service, second_service
from tests.participants.desk import running


async def test_one_event_leads_to_the_next_until_the_saga_ends(stage: Stage) -> None:
    diary = Diary()
    runner = await stage.runner(first_service(diary), second_service(diary))
    async with running(runner):
        await stage.ear.tell(event("Asked", thing="tea"))
        ended = await stage.ear.hear("Ended")
    assert diary.lines == ["do tea", "confirm tea"]
    assert ended.ends is Ending.COMPLETED
    assert (ended.service, ended.saga.saga_type, ended.saga.hops) == ("First", "TestSaga", 3)


async def test_every_event_names_what_led_to_it(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary), second_service(diary))):
        asked = event("Asked", thing="tea")
        await stage.ear.tell(asked)
        await stage.ear.hear("Ended")
    chain = {each.type: each for each in stage.ear.heard}
    assert chain["Done"].saga.causes == (asked.event_id,)
    assert chain["Confirmed"].saga.causes == (asked.event_id, chain["Done"].event_id)
    assert chain["Ended"].saga.cause == chain["Confirmed"].event_id


async def test_a_no_undoes_what_the_other_service_did(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary), second_service(diary))):
        await stage.ear.tell(event("Asked", thing="unwanted"))
        abandoned = await stage.ear.hear("Abandoned")
    assert diary.lines == ["do unwanted", "confirm unwanted", "undo unwanted"]
    assert abandoned.ends is Ending.FAILED
    refused = next(each for each in stage.ear.heard if each.type == "Refused")
    assert refused.data == {"error": "nobody wants that"}


async def test_a_repeated_event_has_one_effect_and_the_same_answer(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary))):
        await stage.ear.tell(event("Asked", thing="tea"))
        first = await stage.ear.hear("Done")
        await stage.ear.tell(event("Asked", thing="tea"))
        second = await stage.ear.hear("Done")
    assert first == second
    assert diary.lines == ["do tea"]
    assert outcomes(stage) == ["handled", "repeated"]


async def test_a_no_is_given_again_and_not_asked_again(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary))):
        for _ in range(2):
            await stage.ear.tell(event("Asked", thing="impossible"))
            denied = await stage.ear.hear("Denied")
            assert denied.data == {"error": "that is impossible"}
    assert diary.lines == ["do impossible"]


async def test_an_event_that_comes_after_what_undoes_it_is_refused(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary))):
        await stage.ear.tell(event("Refused"))
        await stage.ear.hear("Abandoned")
        await stage.ear.tell(event("Asked", thing="tea"), event("Confirmed"))
        await stage.ear.hear("Ended")
    assert diary.lines == ["undo nothing"]
    assert sorted(outcomes(stage)) == ["handled", "handled", "refused"]


async def test_nothing_is_undone_twice(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary))):
        await stage.ear.tell(event("Asked", thing="tea"))
        await stage.ear.hear("Done")
        for number in range(2):
            await stage.ear.tell(event("Refused", number=number))
            await stage.ear.hear("Abandoned")
    assert diary.lines == ["do tea", "undo tea", "undo nothing"]


async def test_what_a_handler_failed_at_is_told_with_its_traceback(stage: Stage) -> None:
    failing = Choreography("First")

    @failing.on("Asked")
    async def divide(event: dict[str, Any], context: EventContext) -> None:
        event["cents"] / 0

    async with running(await stage.runner(failing)):
        await stage.ear.tell(event("Asked", cents=5))
        await stage.ear.dead_letter()
    [rejected] = stage.facts_of(MessageRejected)
    assert rejected.reason == HANDLER_FAILED
    assert rejected.traceback.count("Traceback") == 1
    assert 'in divide\n    event["cents"] / 0' in rejected.traceback
    assert "choreography/" not in rejected.traceback.replace("tests/choreography", "")


async def test_sagas_do_not_meet(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary))):
        await stage.ear.tell(event("Refused", "order-1"))
        await stage.ear.hear("Abandoned", "order-1")
        await stage.ear.tell(event("Asked", "order-2", thing="tea"))
        await stage.ear.hear("Done", "order-2")
    assert diary.lines == ["undo nothing", "do tea"]


async def test_an_event_without_our_headers_counts_by_its_saga_and_type(stage: Stage) -> None:
    diary = Diary()
    async with running(await stage.runner(first_service(diary))):
        for _ in range(2):
            await stage.ear.tell_body("Asked", b'{"saga_id": "order-1", "thing": "tea"}')
            [done] = [await hear_ours(stage)]
    assert diary.lines == ["do tea"]
    assert done.saga.correlation_id == "order-1"


async def hear_ours(stage: Stage):  # type: ignore[no-untyped-def]  # an Event
    return await stage.ear.hear("Done")


def outcomes(stage: Stage) -> Sequence[str]:
    return [fact.outcome for fact in stage.facts_of(EventHandled)]
