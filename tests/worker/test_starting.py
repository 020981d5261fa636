"""Sagas are started by message, through the database, and once."""

import asyncio

import pytest

from messaging import codec
from messaging.contract import StartRequest
from messaging.errors import Conflict, NotFound, ProtocolError, Refused
from orchestrator.client import SagaClient
from tests.worker.stage import Desk, Stage, body_of


async def test_a_start_through_the_database_is_acted_on_without_polling(
    stage: Stage, desk: Desk
) -> None:
    async with stage.working(poll_interval="60s"):
        await stage.store.stuck()
        saga_id = await desk.client.start("Trip", {"to": "Rome"})
        first = await desk.command("TestService")
    assert (first.saga_id, first.data) == (saga_id, {"to": "Rome"})


async def test_a_start_given_an_id_is_idempotent(stage: Stage, desk: Desk) -> None:
    for _ in range(2):
        assert await desk.client.start("Trip", {"to": "Rome"}, saga_id="trip-1") == "trip-1"
    async with stage.working():
        await desk.carry_out("TestService")
        await desk.client.start("Trip", {"to": "Rome"}, saga_id="trip-1")
        await desk.start("trip-1", to="Rome")
        hotel = await desk.carry_out("OtherService")
        assert await desk.ends("trip-1") == "completed"
    assert hotel.saga_id == "trip-1"


async def test_starts_at_the_same_time_make_one_saga(desk: Desk) -> None:
    ids = await asyncio.gather(
        *(desk.client.start("Trip", {"to": "Rome"}, saga_id="trip-1") for _ in range(5))
    )
    assert set(ids) == {"trip-1"}


async def test_the_same_id_with_other_data_is_a_conflict(stage: Stage, desk: Desk) -> None:
    await desk.client.start("Trip", {"to": "Rome"}, saga_id="trip-1")
    with pytest.raises(Conflict, match="trip-1 was started before"):
        await desk.client.start("Trip", {"to": "Oslo"}, saga_id="trip-1")
    async with stage.working():
        await desk.start("trip-1", to="Oslo")
        letter = await desk.dead_letter()
    assert letter.headers["saga-reason"] == "start_conflict"
    assert letter.routing_key == f"rejected.{stage.names.starts}"


async def test_a_start_message_without_an_id_draws_one(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        request = StartRequest(saga_type="Trip", data={"to": "Rome"})
        await desk.send(codec.encode_start(stage.names, request))
        flight = await desk.command("TestService")
    assert flight.saga_id[14] == "7"  # the version of a UUID


async def test_a_plan_that_cannot_be_made_fails_the_saga(stage: Stage, desk: Desk) -> None:
    saga_id = await desk.client.start("Trip", {"impossible": True})
    async with stage.working():
        assert await desk.ends(saga_id) == "failed"
    view = await desk.show(saga_id)
    assert view.first_failure is not None
    assert "nobody flies there" in view.first_failure.error


@pytest.mark.parametrize(
    ("saga_type", "data", "reason"),
    [("Trip", {"impossible": True}, "start_refused"), ("Cruise", {}, "unknown_saga_type")],
)
async def test_a_start_message_that_cannot_be_planned_is_a_dead_letter(
    stage: Stage, desk: Desk, saga_type: str, data: dict[str, bool], reason: str
) -> None:
    async with stage.working():
        await desk.start("trip-1", saga_type, **data)
        letter = await desk.dead_letter()
    assert letter.headers["saga-reason"] == reason
    assert body_of(letter)["saga_id"] == "trip-1"
    assert await desk.client.show("trip-1") is None


async def test_a_worker_leaves_sagas_of_unknown_types_to_others(stage: Stage, desk: Desk) -> None:
    cruise = await desk.client.start("Cruise", {})
    trip = await desk.client.start("Trip", {})
    async with stage.working():
        assert (await desk.command("TestService")).saga_id == trip
    assert (await desk.show(cruise)).state == "started"


async def test_a_cancel_through_the_database_turns_the_saga_back(stage: Stage, desk: Desk) -> None:
    saga_id = await desk.client.start("Trip", {})
    async with stage.working():
        flight = await desk.command("TestService")
        await desk.client.cancel(saga_id, reason="customer called", by="alex")
        await desk.answer(flight)
        await desk.carry_out("TestService")
        assert await desk.ends(saga_id) == "failed"
        with pytest.raises(Refused):
            await desk.client.cancel(saga_id, reason="again", by="alex")
    assert "alex" in {line.actor for line in (await desk.show(saga_id)).history}


async def test_a_saga_cancelled_before_a_worker_saw_it_fails_at_once(
    stage: Stage, desk: Desk
) -> None:
    saga_id = await desk.client.start("Trip", {})
    await desk.client.cancel(saga_id, reason="changed my mind", by="alex")
    async with stage.working():
        assert await desk.ends(saga_id) == "failed"


async def test_what_is_not_there_is_said(desk: Desk) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        await desk.client.wait("nowhere")
    with pytest.raises(NotFound, match="nowhere"):
        await desk.client.cancel("nowhere", reason="?", by="alex")
    assert await desk.client.show("nowhere") is None


async def test_waiting_ends_by_its_timeout(desk: Desk) -> None:
    saga_id = await desk.client.start("Trip", {})
    with pytest.raises(TimeoutError):
        await desk.client.wait(saga_id, timeout=0.2)


@pytest.mark.parametrize(
    ("saga_type", "saga_id", "data", "complaint"),
    [
        ("No Type", None, {}, "saga_type is 'No Type'"),
        ("Trip", "two words", {}, "saga_id is 'two words'"),
        ("Trip", "x" * 201, {}, "1 to 200 characters"),
        ("Trip", None, {"saga_id": "1"}, "saga_id"),
        ("Trip", None, {"n": float("nan")}, "nan"),
        ("Trip", None, {"n": 2**64}, "out of range"),
        ("Trip", None, {"text": "a\x00b"}, "NUL"),
        ("Trip", None, {"text": "x" * (1 << 20)}, "1048576"),
    ],
)
async def test_a_client_refuses_what_no_worker_would_take(
    desk: Desk, saga_type: str, saga_id: str | None, data: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        await desk.client.start(saga_type, data, saga_id=saga_id)
    assert complaint.lower() in str(caught.value).lower()


async def test_a_client_without_a_database_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SAGA_DATABASE_URL", raising=False)
    with pytest.raises(Exception, match="SAGA_DATABASE_URL"):
        SagaClient()
