"""The worker moves sagas from reply to reply."""

import asyncio
from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest

from chassis.facts import DeadLettered, SagaAdvanced
from messaging import codec
from messaging.contract import CancelRequest, Direction
from messaging.memory import MemoryServer
from orchestrator.store.port import Outlook
from orchestrator.worker import clock
from tests.worker.stage import ON_EMBEDDED, ON_SERVERS, SECONDS, Desk, Stage, body_of, statuses


async def test_a_saga_started_by_message_does_its_steps_in_order(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1", to="Rome")
        flight = await desk.carry_out("TestService")
        hotel = await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
    assert (flight.destination, hotel.destination) == ("TestService.Book", "OtherService.Book")
    assert hotel.data == {"to": "Rome", "flight": "booked"}
    view = await desk.show("trip-1")
    assert [line.version for line in view.history] == list(range(1, len(view.history) + 1))


async def test_a_failed_step_compensates_the_completed_ones(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1")
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService", error="no room")
        undone = await desk.carry_out("TestService")
        assert await desk.ends("trip-1") == "failed"
    assert undone.direction is Direction.COMPENSATION
    assert undone.original_result == {"flight": "booked"}
    view = await desk.show("trip-1")
    assert statuses(view) == {"flight": "compensated", "hotel": "failed"}
    assert view.first_failure is not None
    assert (view.first_failure.step, view.first_failure.error) == ("hotel", "no room")


async def test_outcome_events_are_published(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1", to="Rome")
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        await desk.ends("trip-1")
        view = await desk.reaches("trip-1", lambda view: view.state == "completed")
    assert view.data == {"to": "Rome", "flight": "booked", "hotel": "booked"}
    [ended] = [fact for fact in stage.facts_of(SagaAdvanced) if fact.duration is not None]
    assert ended.state == "completed"
    assert ended.duration == view.ended_at - view.created_at


async def test_a_step_without_an_answer_times_out_and_its_saga_turns_back(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working():
        await desk.start("trip-1", "HastyTrip")
        await desk.carry_out("TestService")
        hotel = await desk.command("OtherService")
        await desk.carry_out("TestService")
        assert await desk.ends("trip-1") == "failed"
    assert hotel.deadline is not None
    view = await desk.show("trip-1")
    assert view.first_failure is not None
    assert view.first_failure.error == "no reply within 0.3 s"


async def test_a_compensation_is_tried_again_and_then_left_to_a_person(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working():
        await desk.start("trip-1", "HastyTrip")
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService", error="no room")
        first = await desk.carry_out("TestService", error="the airline is closed")
        second = await desk.carry_out("TestService", error="the airline is closed")
        letter = await desk.dead_letter()
        view = await desk.reaches(
            "trip-1", lambda view: statuses(view)["flight"] == "compensation_failed"
        )
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.command_id == second.command_id
    assert letter.routing_key == "compensation"
    assert letter.headers["saga-reason"] == "compensation_exhausted"
    assert body_of(letter)["original_result"] == {"flight": "booked"}
    assert view.state == "compensating"
    [fact] = stage.facts_of(DeadLettered)
    assert fact.reason == "compensation_exhausted"


async def test_a_cancel_by_message_turns_the_saga_back(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1")
        flight = await desk.command("TestService")
        request = CancelRequest(saga_id="trip-1", reason="customer called")
        await desk.send(codec.encode_cancel(stage.names, request))
        await desk.reaches(
            "trip-1", lambda view: any("cancel" in (line.note or "") for line in view.history)
        )
        await desk.answer(flight)
        await desk.carry_out("TestService")
        assert await desk.ends("trip-1") == "failed"
    view = await desk.show("trip-1")
    assert view.first_failure is not None
    assert "customer called" in view.first_failure.error


async def test_a_cancel_of_an_ended_saga_is_a_dead_letter(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("trip-1")
        await desk.carry_out("TestService", error="sold out")
        await desk.ends("trip-1")
        request = CancelRequest(saga_id="trip-1", reason="too late")
        await desk.send(codec.encode_cancel(stage.names, request))
        letter = await desk.dead_letter()
    assert letter.headers["saga-reason"] == "refused"


async def test_a_command_without_a_queue_fails_its_step_without_effect(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working():
        await desk.start("trip-1", "LonelyTrip")
        assert await desk.ends("trip-1") == "failed"
    view = await desk.show("trip-1")
    assert view.first_failure is not None
    assert "no queue was bound for MoonService.Fly" in view.first_failure.error
    assert view.ended_at is not None
    assert view.ended_at - view.created_at < timedelta(seconds=10)


@ON_EMBEDDED
async def test_a_command_that_comes_back_may_have_arrived_before(
    stage: Stage, desk: Desk, server: MemoryServer
) -> None:
    server.refuse_publishes(1, but_keep=True)
    async with stage.working():
        saga_id = await desk.client.start("LonelyTrip", {})
        assert await desk.ends(saga_id) == "failed"
    view = await desk.show(saga_id)
    assert view.first_failure is not None
    assert "no reply" in view.first_failure.error


@ON_SERVERS
async def test_many_workers_share_the_work(stage: Stage, desk: Desk, serving: object) -> None:
    assert serving
    sagas = [f"trip-{number}" for number in range(150)]
    async with stage.working(), stage.working(), stage.working():
        for number, saga_id in enumerate(sagas):
            await desk.start(saga_id, "Trip" if number % 2 else "HastyTrip")
        states = {await desk.ends(saga_id) for saga_id in sagas}
    assert states == {"completed"}
    for saga_id in sagas:
        history = (await desk.show(saga_id)).history
        assert [line.version for line in history] == list(range(1, len(history) + 1))


async def test_a_short_pause_is_not_drawn_out_to_the_next_look(stage: Stage, desk: Desk) -> None:
    async with stage.working(poll_interval="60s"):
        await desk.start("trip-1", "HastyTrip")
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService", error="no room")
        await desk.carry_out("TestService", error="the airline is closed")
        again = await desk.carry_out("TestService")
        assert await desk.ends("trip-1") == "failed"
    assert again.attempt == 2


async def test_what_is_announced_while_the_clock_looks_is_not_overlooked(
    stage: Stage, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlook, has_read, may_go_on = stage.store.outlook, asyncio.Event(), asyncio.Event()
    is_slow = False

    async def slow() -> Outlook:
        read = await outlook()
        later = read.now + timedelta(seconds=60)
        is_idle = not read.is_due and (read.next_wake_at or later) >= later
        if is_idle and is_slow:
            has_read.set()
            await may_go_on.wait()
        return read

    monkeypatch.setattr(stage.store, "outlook", slow)
    async with stage.working(poll_interval="60s"):
        await asyncio.sleep(1.5)  # until the clock has caught up
        is_slow = True
        await desk.start("trip-1", "HastyTrip")
        await desk.carry_out("TestService")
        await desk.command("OtherService")
        assert (await desk.command("TestService")).direction is Direction.COMPENSATION
        async with asyncio.timeout(SECONDS):
            await has_read.wait()  # of a time when trip-2 was unknown
        await desk.start("trip-2", "HastyTrip")
        await desk.carry_out("TestService")
        await desk.command("OtherService")
        may_go_on.set()
        assert (await desk.carry_out("TestService")).direction is Direction.COMPENSATION
        assert await desk.ends("trip-2") == "failed"


async def test_a_wall_clock_that_is_hours_ahead_does_not_make_the_worker_look_all_the_time(
    stage: Stage, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    outlook = stage.store.outlook

    async def counted() -> Outlook:
        nonlocal looks
        looks += 1
        return await outlook()

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(hours=2)

    monkeypatch.setattr(stage.store, "outlook", counted)
    monkeypatch.setattr(clock, "datetime", Ahead)
    async with stage.working(poll_interval="10s"):
        await desk.start("trip-1")
        await desk.command("TestService")
        await asyncio.sleep(1.5)  # until the clock has caught up
        before = looks
        await asyncio.sleep(0.5)
        assert looks - before <= 1
