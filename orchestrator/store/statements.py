"""What the store asks of Postgres for every batch: set-based, and past SQLAlchemy, whose part
would be to bind thirty arrays and to wrap rows.

Every statement has a fixed text, so the driver prepares it once a connection.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from orchestrator.saga.state import Decision
from orchestrator.store.arrays import (
    Array,
    BigintArray,
    IntegerArray,
    JsonArray,
    MomentArray,
    TextArray,
    array_of,
)
from orchestrator.store.rows import SagaRow, history_of
from orchestrator.store.tables import IDENTITY, JSON_COLUMNS, KEPT_IF_NULL, saga_history, sagas

Driver = psycopg.AsyncConnection[Any]

_KINDS: Final[dict[str, type[Array]]] = {
    "TEXT": TextArray,
    "JSON": JsonArray,
    "INTEGER": IntegerArray,
    "BIGINT": BigintArray,
    "TIMESTAMP WITH TIME ZONE": MomentArray,
}
_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]  # not annotated upstream
Columns = Sequence[sa.Column[Any]]
Places = Sequence[tuple[type[Array], int]]

ALL: Final[Columns] = tuple(sagas.columns)
LINE: Final[Columns] = tuple(saga_history.columns)
# What may change, after the id.
SAVED: Final[Columns] = tuple(
    column for column in sagas.columns if column.primary_key or column.name not in IDENTITY
)


def names(columns: Columns) -> str:
    return ", ".join(column.name for column in columns)


def _arrays(columns: Columns) -> str:
    """For `unnest`: one array parameter for each column."""
    return ", ".join("%s" for _ in columns)


def _read(column: sa.Column[Any]) -> str:
    return f"{column.name}::text" if column.name in JSON_COLUMNS else column.name


# A deadline that moves on at each step would change the index of due sagas each time, and with
# it every other index. The earlier moment stays while it is far off: whoever comes to look then
# finds that it is early. See docs/adr/0014.
_LOOK_AT: Final = """
    CASE WHEN sagas.wake_at <= new.wake_at AND sagas.wake_at > now() + interval '30 seconds'
         THEN sagas.wake_at ELSE new.wake_at END
"""


def assignments() -> str:
    return ", ".join(
        f"{column.name} = {_new_value(column.name)}"
        for column in sagas.columns
        if column.name not in IDENTITY
    )


def _new_value(column: str) -> str:
    if column == sagas.c.wake_at.name:
        return _LOOK_AT
    return f"coalesce(new.{column}, sagas.{column})" if column in KEPT_IF_NULL else f"new.{column}"


# `xmin`, and the number of this transaction as it will stand there.
XMIN: Final = "xmin::text::bigint"
OURS: Final = "txid_current() & 4294967295"

READ: Final = f"""
    SELECT {", ".join(map(_read, sagas.columns))} FROM sagas
    WHERE saga_id = ANY(%s) ORDER BY saga_id
""".encode()  # noqa: S608 - made of our own column names
LOCK: Final = READ + b" FOR UPDATE"
LOCK_MARKS: Final = f"""
    SELECT saga_id, {XMIN}, version, updated_at FROM sagas
    WHERE saga_id = ANY(%s) ORDER BY saga_id FOR UPDATE
""".encode()  # noqa: S608 - made of our own column names
INSERT: Final = f"""
    WITH stored AS (
        INSERT INTO sagas ({names(ALL)})
        SELECT * FROM unnest({_arrays(ALL)})
        ON CONFLICT (saga_id) DO NOTHING
        RETURNING saga_id
    ), told AS (
        INSERT INTO saga_history ({names(LINE)})
        SELECT line.* FROM unnest({_arrays(LINE)}) AS line ({names(LINE)})
        JOIN stored USING (saga_id)
    )
    SELECT {OURS}, saga_id FROM stored
""".encode()  # noqa: S608 - made of our own column names
SAVE: Final = f"""
    WITH moved AS (
        UPDATE sagas SET {assignments()}
        FROM unnest({_arrays(SAVED)}) AS new ({names(SAVED)})
        WHERE sagas.saga_id = new.saga_id
        RETURNING 1
    ), told AS (
        INSERT INTO saga_history ({names(LINE)})
        SELECT * FROM unnest({_arrays(LINE)})
    )
    SELECT {OURS}, count(*) FROM moved
""".encode()  # noqa: S608 - made of our own column names


async def fetch(driver: Driver, statement: bytes, values: Sequence[Array]) -> list[Any]:
    """All of its rows."""
    async with driver.cursor(binary=True) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


def texts(values: Sequence[str]) -> list[Array]:
    """The parameters of a statement that takes one list of texts."""
    return [array_of(TextArray, values)]


def insertion(rows: Sequence[SagaRow], decisions: Sequence[Decision]) -> list[Array]:
    """The parameters of INSERT."""
    return _by_column(ALL, rows) + _by_column(LINE, history_of(decisions))


def saving(rows: Sequence[SagaRow], decisions: Sequence[Decision]) -> list[Array]:
    """The parameters of SAVE."""
    return _by_column(SAVED, rows) + _by_column(LINE, history_of(decisions))


def _by_column(columns: Columns, rows: Sequence[NamedTuple]) -> list[Array]:
    """An array for each of the columns of rows which may have more."""
    values = list(zip(*rows, strict=True))
    return [array_of(kind, values[place] if values else ()) for kind, place in _PLACES[columns]]


def places_of(columns: Columns) -> Places:
    """Of each column its kind, and where it stands in a row of its table."""
    everything = list(columns[0].table.columns)
    return [
        (_KINDS[column.type.compile(dialect=_DIALECT)], everything.index(column))
        for column in columns
    ]


_PLACES: Final = {columns: places_of(columns) for columns in (ALL, SAVED, LINE)}
