"""Columns as they are sent arrive as they are meant."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest

from orchestrator.store.arrays import (
    Array,
    BigintArray,
    IntegerArray,
    JsonArray,
    MomentArray,
    TextArray,
    array_of,
    register,
)

EAST = timezone(timedelta(hours=5, minutes=30))
COLUMNS: tuple[tuple[type[Array], list[Any]], ...] = (
    (TextArray, ["", "Tromsø", None, 'a"\\,{}', "NULL"]),
    (JsonArray, ['{"a":[1, "é"]}', None, "[]"]),
    (IntegerArray, [0, -1, None, 2**31 - 1]),
    (BigintArray, [0, -(2**63), None, 2**63 - 1]),
    (MomentArray, [datetime(1900, 1, 1, tzinfo=UTC), None, datetime(2026, 3, 1, tzinfo=EAST)]),
)


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        register(connection)
        yield connection


@pytest.mark.postgres
@pytest.mark.parametrize("values", ["some", "none", "no"])
@pytest.mark.parametrize(("kind", "column"), COLUMNS)
async def test_a_column_comes_back(
    connection: psycopg.AsyncConnection[Any], kind: type[Array], column: list[Any], values: str
) -> None:
    sent = {"some": column, "none": [None] * 3, "no": []}[values]
    text = "value::text" if kind is JsonArray else "value"
    query = f"SELECT {text} FROM unnest(%s) WITH ORDINALITY AS each (value, place) ORDER BY place"
    rows = await (await connection.execute(query.encode(), [array_of(kind, sent)])).fetchall()
    assert [value for (value,) in rows] == sent


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (TextArray, "\ud800"),
        (TextArray, 7),
        (IntegerArray, 2**31),
        (IntegerArray, "7"),
        (BigintArray, 2**63),
        (MomentArray, "2026-03-01T00:00:00Z"),
        (MomentArray, datetime(2026, 3, 1)),  # noqa: DTZ001 - that is what is wrong with it
    ],
)
def test_what_a_column_cannot_hold_is_refused(kind: type[Array], value: object) -> None:
    with pytest.raises((UnicodeEncodeError, OverflowError, TypeError)):
        array_of(kind, [value])
