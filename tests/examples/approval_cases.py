"""Purchases as they are played: people who agree, refuse, are reminded, or never answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.errors import Refused
from participants.examples import approval_books
from participants.examples.approval_desk import Desk
from participants.replies import Replies
from tests.examples.playing import SECONDS, Case, Example, Scene, books_of

SECOND = 1 / 86_400  # in days
AGREED = ("approved", "approved after a reminder", "approved, but not to be had")


async def fill(connection: AsyncConnection) -> None:
    await approval_books.grant(connection, "workshop", 1_000_000)
    await approval_books.list_supplier(connection, "Lathes & Co.")


def cases() -> Iterator[Case]:
    for number in range(4):
        yield _case(f"lathe-{number}", "approved")
    for number in range(2):
        yield _case(f"slow-{number}", "approved after a reminder", remind_after_days=SECOND)
        yield _case(f"no-{number}", "declined", "approve")
        yield _case(f"late-{number}", "never answered", "approve", days_to_answer=6 * SECOND)
        yield _case(f"gone-{number}", "approved, but not to be had", "order", supplier="Nobody")
    yield _case("much-0", "above the budget", "set_aside", cents=2_000_000)


ERRORS = {
    "declined": "declined by the works office",
    "approved, but not to be had": "Nobody takes no orders from us",
    "above the budget": "workshop has no 20,000.00 left to spend",
}


def _case(saga_id: str, kind: str, fails_at: str | None = None, **wishes: Any) -> Case:
    data = {
        "department": "workshop",
        "subject": "a lathe",
        "cents": 12_345,
        "supplier": "Lathes & Co.",
        **wishes,
    }
    error = ERRORS.get(kind, "")
    return Case(saga_id=saga_id, kind=kind, data=data, fails_at=fails_at, error=error)


async def people(scene: Scene) -> None:
    """All are asked; everything is stopped and started; then they answer, or do not."""
    place = scene.place
    async with (
        books_of(place) as engine,
        Replies.open(
            place.amqp_url, inbox_url=place.shop_database, namespace=place.namespace
        ) as replies,
    ):
        desk = Desk(engine=engine, replies=replies)
        asked = [case for case in scene.cases if case.fails_at != "set_aside"]
        await until(lambda: _were_asked(scene, asked))
        scene.restart()
        await _remind(desk, [case.saga_id for case in asked if "reminder" in case.kind])
        for case in asked:
            if case.kind != "never answered":
                agreed = case.kind in AGREED
                await desk.decide(case.saga_id, is_approved=agreed, by="the works office")
        for case in asked:
            if case.kind == "never answered":
                await _answer_too_late(scene, desk, case)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await is_so():
            await asyncio.sleep(0.05)


async def _were_asked(scene: Scene, cases: list[Case]) -> bool:
    async with books_of(scene.place) as engine, engine.connect() as connection:
        query = approval_books.requests.select()
        return len((await connection.execute(query)).all()) == len(cases)


async def _remind(desk: Desk, wanted: list[str]) -> None:
    """What a clock does every few minutes."""
    reminded = set[str]()

    async def all_are_reminded() -> bool:
        reminded.update(await desk.remind())
        return reminded == set(wanted)

    await until(all_are_reminded)


async def _answer_too_late(scene: Scene, desk: Desk, case: Case) -> None:
    """When the time is over, the request is withdrawn, and the guard refuses an answer."""
    await scene.client.wait(case.saga_id, timeout=SECONDS)
    with suppress(Refused):
        await desk.decide(case.saga_id, is_approved=True, by="the works office")
        raise AssertionError(f"{case.saga_id} was answered after it had been withdrawn")


APPROVAL = Example(
    name="approval",
    saga_type="Approval",
    module="approval",
    cases=tuple(cases()),
    create_missing=approval_books.create_missing,
    fill=fill,
    balance=approval_books.balance,
    people=people,
)
