"""Asking Postgres past the driver's cursors: any size, any error, and never twice at a time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.patience import ImpatientConnection
from orchestrator.store.arrays import (
    Array,
    BigintArray,
    IntegerArray,
    JsonArray,
    MomentArray,
    TextArray,
    element_of,
    moment_from,
    type_of,
)
from orchestrator.store.direct import Line, Statement
from orchestrator.store.engines import database_url_of, postgres_engine
from orchestrator.store.kept import Kept

pytestmark = pytest.mark.postgres

TEXT = type_of(TextArray).element
ECHO = Statement(b"SELECT $1, length($1)", [TEXT])
SLEEP = Statement(b"SELECT pg_sleep($1::text::float)", [TEXT])


@pytest.fixture
async def line(empty_database_url: str) -> AsyncIterator[Line]:
    async with await ImpatientConnection.connect(empty_database_url, autocommit=True) as driver:
        yield Line(driver)


async def prepared(line: Line) -> int:
    asked = "SELECT count(*) FROM pg_prepared_statements"
    row = await (await line.driver.execute(asked, prepare=False)).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_statement_is_prepared_once(line: Line) -> None:
    for word in ("one", "two", "three"):
        answer = await line.ask(ECHO, [word.encode()])
        assert answer.get_value(0, 0) == word.encode()
    assert await prepared(line) == 1
    await line.ask(Statement(ECHO.text, ECHO.types), [None])
    assert await prepared(line) == 2


async def test_what_does_not_fit_into_the_socket_is_sent_in_parts(line: Line) -> None:
    large = b"a" * 30_000_000
    answer = await line.ask(ECHO, [large])
    assert answer.get_value(0, 0) == large
    assert int.from_bytes(answer.get_value(0, 1) or b"") == len(large)


KINDS: list[tuple[type[Array], Any]] = [
    (TextArray, "Tromsø"),
    (JsonArray, '{"a": "é"}'),
    (IntegerArray, -(2**31)),
    (BigintArray, 2**63 - 1),
    (MomentArray, datetime(1815, 12, 10, 1, 2, 3, 4, tzinfo=UTC)),
]


@pytest.mark.parametrize(("kind", "value"), KINDS)
async def test_a_value_alone_is_what_it_is_in_an_array(
    line: Line, kind: type[Array], value: Any
) -> None:
    same = Statement(b"SELECT $1::text, $1", [type_of(kind).element])
    answer = await line.ask(same, [element_of(kind, value)])
    written = (answer.get_value(0, 0) or b"").decode()
    told = answer.get_value(0, 1) or b""
    if kind is MomentArray:
        assert moment_from(told) == value
    else:
        assert written == str(value)
    nothing = await line.ask(same, [element_of(kind, None)])
    assert nothing.get_value(0, 1) is None


async def test_an_error_is_the_driver_s(line: Line) -> None:
    with pytest.raises(errors.InvalidTextRepresentation, match="invalid input syntax"):
        await line.ask(SLEEP, [b"long"])
    with pytest.raises(errors.SyntaxError):
        await line.ask(Statement(b"SELEKT $1", [TEXT]), [b""])


async def test_a_server_that_hangs_up_is_noticed(line: Line, empty_database_url: str) -> None:
    asking = asyncio.create_task(line.ask(SLEEP, [b"60"]))
    await asyncio.sleep(0.1)
    async with await psycopg.AsyncConnection.connect(empty_database_url) as other:
        await other.execute("SELECT pg_terminate_backend(%s)", [line.driver.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        async with asyncio.timeout(10):
            await asking
    assert line.driver.closed


async def test_a_server_that_says_nothing_is_hung_up_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line.driver, "patience", 0.2)
    with pytest.raises(psycopg.OperationalError):
        async with asyncio.timeout(10):
            await line.ask(SLEEP, [b"60"])
    assert line.driver.closed


async def test_after_a_cancelled_question_nobody_gets_the_answer(empty_database_url: str) -> None:
    engine = postgres_engine(database_url_of(empty_database_url), isolation_level="AUTOCOMMIT")
    kept = Kept(engine)

    async def ask(statement: Statement, value: bytes) -> bytes | None:
        async with kept.one() as line:
            return (await line.ask(statement, [value])).get_value(0, 0)

    asking = asyncio.create_task(ask(SLEEP, b"0.3"))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait([asking])
    assert await ask(ECHO, b"mine") == b"mine"
    assert await ask(ECHO, b"mine, too") == b"mine, too"
    assert _taken_out(engine) == 1
    await kept.close()
    await engine.dispose()


def _taken_out(engine: AsyncEngine) -> int:
    return engine.sync_engine.pool.checkedout()  # type: ignore[attr-defined]  # it has a queue
