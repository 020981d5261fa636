"""A step guarded by itself is done once for each key, in its caller's transaction."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from messaging.errors import ConfigurationError, DefinitionError
from participants import IdempotentStep, StepBusy, StepFailed, idempotent_step
from participants.idempotent_table import idempotent_steps, prepare_steps, purge_steps
from participants.sql_inbox import SqlInbox

SECONDS = 20.0
SOON = timedelta(milliseconds=1)


class Receipt(BaseModel):
    number: int
    amount: str


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    return str(request.getfixturevalue("empty_database_url"))


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        prepare_steps(connection)
        prepare_steps(connection)
        connection.execute(sa.text("CREATE TABLE charges (order_id TEXT, amount INTEGER)"))
    yield engine
    engine.dispose()


@pytest.fixture
async def async_engine(engine: sa.Engine, database_url: str) -> AsyncIterator[AsyncEngine]:
    url = database_url.replace("postgresql:", "postgresql+psycopg:")
    found = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    yield found
    await found.dispose()


def insert(order_id: str, amount: int) -> sa.TextClause:
    return sa.text("INSERT INTO charges VALUES (:order_id, :amount)").bindparams(
        order_id=order_id, amount=amount
    )


def charged(engine: sa.Engine) -> list[tuple[str, int]]:
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT * FROM charges ORDER BY 1, 2"))
        return [(row[0], row[1]) for row in rows]


@idempotent_step(key="order-{order_id}")
def charge(session: Session, order_id: str, amount: int) -> dict[str, Any]:
    session.execute(insert(order_id, amount))
    return {"charged": amount, "parts": (1, 2)}


@idempotent_step()
async def charge_async(session: AsyncSession, order_id: str, amount: int = 5) -> Receipt:
    await session.execute(insert(order_id, amount))
    return Receipt(number=7, amount=str(amount))


def test_a_repetition_gets_the_stored_result(engine: sa.Engine) -> None:
    answers = []
    for amount in (10, 99):
        with Session(engine) as session, session.begin():
            answers.append(charge(session, "42", amount))
    assert answers == [{"charged": 10, "parts": [1, 2]}] * 2
    assert charged(engine) == [("42", 10)]


def test_in_one_transaction_as_well(engine: sa.Engine) -> None:
    with Session(engine) as session, session.begin():
        assert charge(session, "42", 10) == charge(session, amount=10, order_id="42")
        charge(session, "43", 10)
    assert charged(engine) == [("42", 10), ("43", 10)]


def test_rolled_back_it_was_never_done(engine: sa.Engine) -> None:
    with Session(engine) as session:
        charge(session, "42", 10)
        session.rollback()
    assert charged(engine) == []
    with Session(engine) as session, session.begin():
        charge(session, "42", 11)
    assert charged(engine) == [("42", 11)]


async def test_asynchronous_steps_and_models(async_engine: AsyncEngine, engine: sa.Engine) -> None:
    async with AsyncSession(async_engine) as session, session.begin():
        first = await charge_async(session, "42")
    async with AsyncSession(async_engine) as session, session.begin():
        again = await charge_async(session, order_id="42", amount=5)
        other = await charge_async(session, order_id="42", amount=6)
    assert first == again == Receipt(number=7, amount="5")
    assert other.amount == "6"
    assert charged(engine) == [("42", 5), ("42", 6)]


async def test_the_class_takes_a_key_and_a_function(async_engine: AsyncEngine) -> None:
    step = IdempotentStep("nightly", ttl=None)
    calls = []

    async def count() -> list[int]:
        calls.append(1)
        return calls

    for _ in range(2):
        async with async_engine.begin() as connection:
            assert await step.run_async(connection, "2026-11-21", count) == [1]
    async with async_engine.begin() as connection:
        assert await step.run_async(connection, "2026-11-22", count) == [1, 1]


def test_a_definite_failure_is_kept_and_its_sql_is_not(engine: sa.Engine) -> None:
    calls = []

    @idempotent_step("refuse", key="{order_id}")
    def refuse(connection: sa.Connection, order_id: str) -> None:
        calls.append(order_id)
        connection.execute(insert(order_id, 1))
        raise StepFailed("card refused", effect="unknown")

    for _ in range(2):
        with engine.begin() as connection:
            with pytest.raises(StepFailed, match="card refused") as failure:
                refuse(connection, "42")
            assert failure.value.effect == "unknown"
    assert calls == ["42"]
    assert charged(engine) == []


@pytest.mark.parametrize(
    ("keeps_failures", "error"),
    [
        (False, StepFailed("no")),
        (True, StepFailed("not now", retryable=True)),
        (True, ValueError("a bug")),
    ],
)
async def test_what_is_not_kept_is_tried_again(
    async_engine: AsyncEngine, keeps_failures: bool, error: Exception
) -> None:
    step = IdempotentStep("trying", keeps_failures=keeps_failures)
    calls = []

    async def trying() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return "done"

    async with AsyncSession(async_engine) as session, session.begin():
        with pytest.raises(type(error)):
            await step.run_async(session, "k", trying)
    async with AsyncSession(async_engine) as session, session.begin():
        assert await step.run_async(session, "k", trying) == "done"


def test_what_has_expired_may_be_done_again_and_is_purged(engine: sa.Engine) -> None:
    step = IdempotentStep("brief", ttl=SOON)
    lasting = IdempotentStep("lasting", ttl=None)
    for number in (1, 2):
        with engine.begin() as connection:
            assert step.run(connection, "k", lambda number=number: number) == number
            assert lasting.run(connection, "k", lambda number=number: number) == 1
        threading.Event().wait(0.01)
    with engine.begin() as connection:
        assert purge_steps(connection) == 1
        assert connection.scalars(sa.select(idempotent_steps.c.name)).all() == ["lasting"]


async def test_participants_purge_them_with_their_inbox(
    engine: sa.Engine, database_url: str
) -> None:
    with engine.begin() as connection:
        IdempotentStep("brief", ttl=SOON).run(connection, "k", lambda: 1)
    inbox = SqlInbox(database_url)
    await inbox.prepare(())
    await asyncio.sleep(0.01)
    assert await inbox.purge(timedelta(days=1)) == 1
    await inbox.close()


def test_results_that_cannot_be_stored_are_named_and_undone(engine: sa.Engine) -> None:
    step = IdempotentStep("odd")
    with engine.connect() as connection:
        for result in (object(), {"n": float("nan")}, {1: 2}, "x" * 70_000):

            def do(result: object = result) -> object:
                connection.execute(insert("odd", 1))
                return result

            with pytest.raises(DefinitionError, match="the result of odd"):
                step.run(connection, "k", do)
        assert step.run(connection, "k", lambda: None) is None
        connection.commit()
    assert charged(engine) == []


def test_what_cannot_work_is_said_when_it_is_declared() -> None:
    for wrong in (
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a", "ttl": timedelta(0)},
        {"name": "a", "on_busy": "later"},
    ):
        with pytest.raises(DefinitionError):
            IdempotentStep(**wrong)
    for key in ("{other}", "no field", "{broken"):
        with pytest.raises(DefinitionError, match="the key"):
            idempotent_step(key=key)(charge)


def test_calls_without_a_session_or_a_key_are_refused(engine: sa.Engine) -> None:
    with pytest.raises(TypeError, match="no Session or Connection"):
        charge("session", "42", 1)  # type: ignore[arg-type]
    with Session(engine) as session:
        for key in ("", "x" * 501, "a\0b"):
            with pytest.raises(DefinitionError, match="the key of nightly"):
                IdempotentStep("nightly").run(session, key, lambda: 1)

        @idempotent_step("odd")
        def odd(session: Session, thing: object) -> None: ...

        with pytest.raises(DefinitionError, match="they are no JSON"):
            odd(session, object())


def test_a_key_may_be_computed(engine: sa.Engine) -> None:
    @idempotent_step("computed", key=lambda order_id: order_id.lower())
    def computed(session: Session, order_id: str, amount: int) -> int:
        return amount

    with Session(engine) as session, session.begin():
        assert [computed(session, "A", 1), computed(session, "a", 2)] == [1, 1]


def test_a_missing_table_and_autocommit_are_named(database_url: str) -> None:
    engine = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection, pytest.raises(ConfigurationError, match="prepare_steps"):
        IdempotentStep("a").run(connection, "k", lambda: 1)
    by_itself = engine.execution_options(isolation_level="AUTOCOMMIT")
    with by_itself.connect() as connection, pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
        IdempotentStep("a").run(connection, "k", lambda: 1)
    engine.dispose()


# --- at the same time ------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_the_second_waits_for_the_first_and_gets_its_result(
    async_engine: AsyncEngine, engine: sa.Engine
) -> None:
    async def once(number: int) -> Receipt:
        async with AsyncSession(async_engine) as session, session.begin():
            return await charge_async(session, "42", 5)

    async with asyncio.timeout(SECONDS):
        receipts = await asyncio.gather(*map(once, range(10)))
    assert set(map(str, receipts)) == {str(Receipt(number=7, amount="5"))}
    assert charged(engine) == [("42", 5)]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_if_the_first_is_rolled_back_the_second_does_it(
    async_engine: AsyncEngine, engine: sa.Engine
) -> None:
    async with AsyncSession(async_engine) as first:
        await charge_async(first, "42", 5)

        async def second() -> None:
            async with AsyncSession(async_engine) as session, session.begin():
                await charge_async(session, "42", 5)

        waiting = asyncio.create_task(second())
        await waits_for_a_lock(async_engine)
        assert not waiting.done()
        await first.rollback()
        await asyncio.wait_for(waiting, SECONDS)
    assert charged(engine) == [("42", 5)]


async def waits_for_a_lock(engine: AsyncEngine) -> None:
    query = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with asyncio.timeout(SECONDS), engine.connect() as connection:
        while not await connection.scalar(query):
            await connection.rollback()
            await asyncio.sleep(0.01)


async def test_refuse_raises_at_once_while_it_is_under_way(
    async_engine: AsyncEngine, engine: sa.Engine, database_url: str
) -> None:
    step = IdempotentStep("charge", on_busy="refuse")
    impatient = "?timeout=0.05" if database_url.startswith("sqlite") else ""
    other = sa.create_engine(database_url.replace("postgresql:", "postgresql+psycopg:") + impatient)

    def try_it() -> None:
        with other.begin() as connection:
            step.run(connection, "42", lambda: "again")

    async def slowly(connection: AsyncConnection) -> str:
        await connection.execute(insert("42", 1))
        with pytest.raises(StepBusy, match="'charge' with key '42' is under way"):
            await asyncio.to_thread(try_it)
        return "done"

    async with async_engine.begin() as connection:
        assert await step.run_async(connection, "42", lambda: slowly(connection)) == "done"
    with other.begin() as plain:
        assert step.run(plain, "42", lambda: "again") == "done"
    other.dispose()
    assert charged(engine) == [("42", 1)]
