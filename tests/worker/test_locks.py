"""Sagas over the same thing wait for each other, or are refused, as their definition declares."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from chassis.facts import GaugeMeasured, SagaAdvanced
from chassis.metrics import Metrics
from messaging.errors import DefinitionError
from orchestrator import LockPolicy, SagaOrchestrator, SagaStep, start_in_async
from orchestrator.registry import Registry
from orchestrator.store.tables import saga_locks
from orchestrator.worker.lock_watch import LockWatch
from tests.worker.stage import ON_SERVERS, Desk, Stage, until


class Rebooking(SagaOrchestrator):
    """One step, and nobody else at the same trip."""

    saga_type = "Rebooking"

    def locks(self, data: dict[str, Any]) -> Sequence[str]:
        return [f"trip:{trip}" for trip in data["trips"]]

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [SagaStep("flight", "TestService.Book", "TestService.Cancel")]


class Hurried(Rebooking):
    saga_type = "Hurried"
    on_locked = "refuse"


class Bounded(Rebooking):
    saga_type = "Bounded"
    on_locked = LockPolicy(timeout=timedelta(milliseconds=600), limit=1)


@pytest.fixture(autouse=True)
def definitions(stage: Stage) -> None:
    stage.definitions += (Rebooking(), Hurried(), Bounded())


async def lines(stage: Stage) -> list[tuple[str, str, bool]]:
    """Of the table: name, saga, whether it holds it."""
    query = sa.select(saga_locks).order_by(saga_locks.c.name, saga_locks.c.place)
    async with stage.store.reading() as connection:
        rows = (await connection.execute(query)).all()
    return [(row.name, row.saga_id, row.held_at is not None) for row in rows]


async def waits(desk: Desk, saga_id: str) -> None:
    """Until that saga stands in line."""
    await desk.reaches(saga_id, lambda view: any(not lock.is_held for lock in view.locks))


async def test_the_second_waits_until_the_first_has_ended(stage: Stage, desk: Desk) -> None:
    async with stage.working(poll_interval="60s"):
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        await desk.start("two", "Rebooking", trips=["a"])
        await waits(desk, "two")
        view = await desk.show("two")
        assert (view.state, view.steps) == ("started", ())
        assert [(lock.name, lock.holder, lock.ahead) for lock in view.locks] == [
            ("trip:a", "one", 0)
        ]
        assert view.history[0].note == "waits for trip:a, behind saga one"
        await desk.answer(first)
        second = await desk.carry_out("TestService")
        assert second.saga_id == "two"
        assert await desk.ends("two") == "completed"
    assert await lines(stage) == []


async def test_who_came_first_goes_first(stage: Stage, desk: Desk) -> None:
    order = ["one", "two", "three", "four"]
    async with stage.working(poll_interval="60s"):
        for saga_id in order:
            await desk.start(saga_id, "Rebooking", trips=["a"])
            await desk.reaches(saga_id, lambda view: bool(view.locks))
        carried = [(await desk.carry_out("TestService")).saga_id for _ in order]
        assert await desk.ends("four") == "completed"
    assert carried == order


async def test_starts_through_the_database_wait_in_the_same_line(stage: Stage, desk: Desk) -> None:
    async with stage.working(poll_interval="60s"):
        await desk.client.start("Rebooking", {"trips": ["a"]}, saga_id="one")
        first = await desk.command()
        await desk.start("two", "Rebooking", trips=["a"])
        await waits(desk, "two")
        await desk.client.start("Rebooking", {"trips": ["a"]}, saga_id="three")
        await waits(desk, "three")
        await desk.answer(first)
        carried = [(await desk.carry_out("TestService")).saga_id for _ in "23"]
        assert await desk.ends("three") == "completed"
    assert carried == ["two", "three"]


async def test_all_names_are_taken_at_once_or_none(stage: Stage, desk: Desk) -> None:
    async with stage.working(poll_interval="60s"):
        await desk.start("ab", "Rebooking", trips=["a", "b"])
        first = await desk.command()
        await desk.start("bc", "Rebooking", trips=["c", "b"])
        await waits(desk, "bc")
        assert ("trip:c", "bc", False) in await lines(stage)
        await desk.start("d", "Rebooking", trips=["d"])
        assert (await desk.carry_out("TestService")).saga_id == "d"
        await desk.answer(first)
        assert (await desk.carry_out("TestService")).saga_id == "bc"
        assert await desk.ends("bc") == "completed"
        assert await desk.ends("d") == "completed"
    assert await lines(stage) == []


async def test_a_saga_that_fails_lets_go_when_all_is_compensated(stage: Stage, desk: Desk) -> None:
    async with stage.working(poll_interval="60s"):
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        await desk.start("two", "Rebooking", trips=["a"])
        await waits(desk, "two")
        await desk.client.cancel("one", reason="no", by="me")
        await desk.answer(first)
        undone = await desk.command()
        assert undone.name == "Cancel"
        assert ("trip:a", "one", True) in await lines(stage)
        await desk.answer(undone)
        assert (await desk.carry_out("TestService")).saga_id == "two"
        assert await desk.ends("one") == "failed"
        assert await desk.ends("two") == "completed"


async def test_who_is_cancelled_in_line_leaves_its_place(stage: Stage, desk: Desk) -> None:
    async with stage.working(poll_interval="60s"):
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        await desk.start("two", "Rebooking", trips=["a", "b"])
        await waits(desk, "two")
        await desk.start("three", "Rebooking", trips=["b"])
        await waits(desk, "three")
        assert await desk.client.cancel("two", reason="no", by="me") == "failed"
        assert (await desk.carry_out("TestService")).saga_id == "three"
        await desk.answer(first)
        assert await desk.ends("one") == await desk.ends("three") == "completed"
    assert await lines(stage) == []


async def test_refuse_fails_at_once_and_names_the_holder(stage: Stage, desk: Desk) -> None:
    metrics = Metrics()
    async with stage.working():
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        for saga_id in ("by-message", "through-database"):
            if saga_id == "by-message":
                await desk.start(saga_id, "Hurried", trips=["a"])
            else:
                await desk.client.start("Hurried", {"trips": ["a"]}, saga_id=saga_id)
            assert await desk.ends(saga_id) == "failed"
            failure = (await desk.show(saga_id)).first_failure
            assert failure is not None
            assert "'trip:a' is with saga one" in failure.error
        await desk.answer(first)
        assert await desk.ends("one") == "completed"
        await desk.start("free", "Hurried", trips=["a"])
        assert (await desk.carry_out("TestService")).saga_id == "free"
    for fact in stage.facts_of(SagaAdvanced):
        metrics.observe(fact)
    labels = {"saga_type": "Hurried", "reason": "refused"}
    assert metrics.registry.get_sample_value("saga_lock_failures_total", labels) == 2


async def test_who_waits_too_long_fails_and_says_so(stage: Stage, desk: Desk) -> None:
    async with stage.working(poll_interval="60s"):
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        await desk.start("two", "Bounded", trips=["a"])
        await waits(desk, "two")
        assert await desk.ends("two") == "failed"
        failure = (await desk.show("two")).first_failure
        assert failure is not None
        assert "s for the lock 'trip:a', behind saga one" in failure.error
        await desk.answer(first)
        assert await desk.ends("one") == "completed"
    notes = [move.note for fact in stage.facts_of(SagaAdvanced) for move in fact.moves]
    assert "waited too long for its locks" in notes
    assert await lines(stage) == []


async def test_a_full_line_refuses(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        await desk.start("two", "Rebooking", trips=["a"])
        await waits(desk, "two")
        await desk.start("three", "Bounded", trips=["a"])
        assert await desk.ends("three") == "failed"
        failure = (await desk.show("three")).first_failure
        assert failure is not None
        assert "and 1 wait for it already" in failure.error
        await desk.answer(first)
        await desk.carry_out("TestService")
        assert await desk.ends("two") == "completed"


async def test_what_waited_outlives_every_worker(stage: Stage, desk: Desk) -> None:
    async with stage.doomed(stage.new_broker()):
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        await desk.start("two", "Rebooking", trips=["a"])
        await waits(desk, "two")
    await desk.answer(first)
    async with stage.working(poll_interval="60s"):
        assert (await desk.carry_out("TestService")).saga_id == "two"
        assert await desk.ends("two") == "completed"
    assert await lines(stage) == []


async def test_a_start_that_is_none_leaves_nothing_behind(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        await desk.start("one", "Rebooking", no="trips")
        letter = await desk.dead_letter()
        assert letter.headers["saga-reason"] == "start_refused"
        assert "Rebooking.locks raised KeyError" in str(letter.headers["saga-error"])
        await desk.start("two", "Rebooking", trips=["abc", "def"])
        await desk.start("two", "Rebooking", trips=["other"])
        await desk.carry_out("TestService")
        assert await desk.ends("two") == "completed"
    assert await lines(stage) == []


async def test_who_waits_is_not_stuck_and_is_counted(stage: Stage, desk: Desk) -> None:
    async with stage.working() as worker:
        await desk.start("one", "Rebooking", trips=["a"])
        first = await desk.command()
        await desk.start("two", "Rebooking", trips=["a"])
        await waits(desk, "two")
        await LockWatch(stage.store, worker.database, stage.facts.append).look()
        gauges = {each.name: each.values for each in stage.facts_of(GaugeMeasured)}
        assert gauges["saga_locks_waiting"] == {("Rebooking",): 1.0}
        assert gauges["saga_lock_held_seconds"]["Rebooking",] >= 0
        view = await desk.show("two")
        assert view.wake_at is not None
        assert view.wake_at > view.created_at + timedelta(seconds=50)
        await desk.answer(first)
        await desk.carry_out("TestService")
        assert await desk.ends("two") == "completed"


async def test_locks_that_nobody_lets_go_of_any_more_are_cleared(stage: Stage, desk: Desk) -> None:
    async with stage.store.transaction() as transaction:
        row = {
            "name": "trip:a",
            "saga_id": "gone",
            "saga_type": "Rebooking",
            "place": 1,
            "asked_at": transaction.now,
            "held_at": transaction.now,
        }
        await transaction.execute(sa.insert(saga_locks), row)
    async with stage.working():
        await desk.start("one", "Rebooking", trips=["a"])
        assert (await desk.carry_out("TestService")).saga_id == "one"
        assert await desk.ends("one") == "completed"


async def test_sagas_without_locks_leave_the_table_alone(stage: Stage, desk: Desk) -> None:
    async with stage.working():
        async with stage.store.transaction() as transaction:
            await transaction.execute(sa.text("ALTER TABLE saga_locks RENAME TO away"))
        await desk.start("free", "Rebooking", trips=[])
        await desk.start("trip", to="Rome")
        await desk.carry_out("TestService")
        await desk.carry_out("TestService")
        await desk.carry_out("OtherService")
        async with stage.store.transaction() as transaction:
            await transaction.execute(sa.text("ALTER TABLE away RENAME TO saga_locks"))
        assert await desk.ends("trip") == await desk.ends("free") == "completed"


def test_what_an_author_may_not_declare_is_said_when_it_is_registered() -> None:
    for policy in ("later", LockPolicy(limit=-1), LockPolicy(timeout=timedelta(0)), None):
        wrong = type("Wrong", (Rebooking,), {"saga_type": "Wrong", "on_locked": policy})
        with pytest.raises(DefinitionError, match="on_locked"):
            Registry([wrong()])
    registry = Registry([Rebooking()])
    assert registry.locks("Rebooking", {"trips": ["b", "a", "b"]}) == ("trip:a", "trip:b")
    for names in (
        "trip:a",
        7,
        [7],
        [""],
        [" a"],
        ["a\0"],
        ["x" * 201],
        [str(n) for n in range(101)],
    ):
        odd = type("Odd", (Rebooking,), {"saga_type": "Odd", "locks": lambda *_, it=names: it})
        with pytest.raises(DefinitionError, match="locks"):
            Registry([odd()]).locks("Odd", {})


async def test_a_saga_is_asked_for_in_a_transaction_and_waits_as_all_do(
    stage: Stage, desk: Desk
) -> None:
    with pytest.raises(DefinitionError, match="locks raised KeyError"):
        async with stage.store.reading() as connection:
            await start_in_async(connection, Rebooking, {})


@ON_SERVERS
async def test_many_over_few_names_with_workers_killed_are_never_two_at_one(
    stage: Stage, desk: Desk, serving: asyncio.Task[None]
) -> None:
    """Ninety sagas, each over two of five names, three workers, of which two are killed."""
    count = 90
    seen: list[int] = []

    async def audit() -> None:
        while True:
            async with stage.store.reading() as connection:
                holders = sa.select(saga_locks.c.name, sa.func.count()).where(
                    saga_locks.c.held_at.is_not(None)
                )
                rows = await connection.execute(holders.group_by(saga_locks.c.name))
                seen.extend(number for _, number in rows)
            await asyncio.sleep(0.01)

    auditing = asyncio.create_task(audit())
    async with stage.working(), stage.working():
        for number in range(count):
            trips = [number % 5, (number * 7 + 1) % 5]
            if number % 3:
                await desk.start(f"s-{number}", "Rebooking", trips=trips)
            else:
                data = {"trips": trips}
                await desk.client.start("Rebooking", data, saga_id=f"s-{number}")
            if number in {30, 60}:
                async with stage.doomed(stage.new_broker()):
                    await until(lambda: len(stage.facts_of(SagaAdvanced)) > 20)
        states = [await desk.ends(f"s-{number}") for number in range(count)]
    auditing.cancel()
    assert states == ["completed"] * count
    assert set(seen) == {1}
    assert await lines(stage) == []
    assert await no_two_overlapped(stage)


async def no_two_overlapped(stage: Stage) -> bool:
    """By the stored times: of sagas over one name, each began when the one before had ended."""
    query = sa.text(
        "SELECT s.data::text, h.at, s.ended_at FROM sagas s JOIN saga_history h USING (saga_id)"
        " WHERE h.note = 'started' ORDER BY h.at"
    )
    spans: dict[int, list[tuple[datetime, datetime]]] = {}
    async with stage.store.reading() as connection:
        for data, began, ended in await connection.execute(query):
            for trip in set(json.loads(data)["trips"]):
                spans.setdefault(trip, []).append((began, ended))
    assert sum(map(len, spans.values())) > 90
    return all(before[1] <= after[0] for each in spans.values() for before, after in pairwise(each))
