"""What the store asks of Postgres for every batch: set-based, and past SQLAlchemy, whose part
would be to bind thirty arrays and to wrap rows.

Every statement has a fixed text, so the driver prepares it once a connection.
"""

from collections.abc import Sequence
from datetime import datetime
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
from orchestrator.store.remembered import Mark
from orchestrator.store.rows import SagaRow, history_of
from orchestrator.store.tables import IDENTITY, JSON_COLUMNS, KEPT_IF_NULL, saga_history, sagas

Driver = psycopg.AsyncConnection[Any]
Values = Sequence[Array | str | datetime]

_KINDS: Final[dict[str, type[Array]]] = {
    "TEXT": TextArray,
    "JSON": JsonArray,
    "INTEGER": IntegerArray,
    "BIGINT": BigintArray,
    "TIMESTAMP WITH TIME ZONE": MomentArray,
}
_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]  # not annotated upstream
Columns = Sequence[sa.Column[Any]]

_ALL: Final[Columns] = tuple(sagas.columns)
_LINE: Final[Columns] = tuple(saga_history.columns)
# What may change, after the id.
_SAVED: Final[Columns] = tuple(
    column for column in sagas.columns if column.primary_key or column.name not in IDENTITY
)


def _names(columns: Columns) -> str:
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


def _assignments() -> str:
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
_XMIN: Final = "xmin::text::bigint"
_OURS: Final = "txid_current() & 4294967295"

READ: Final = f"""
    SELECT {", ".join(map(_read, sagas.columns))} FROM sagas
    WHERE saga_id = ANY(%s) ORDER BY saga_id
""".encode()  # noqa: S608 - made of our own column names
LOCK: Final = READ + b" FOR UPDATE"
LOCK_MARKS: Final = f"""
    SELECT saga_id, {_XMIN}, version, updated_at FROM sagas
    WHERE saga_id = ANY(%s) ORDER BY saga_id FOR UPDATE
""".encode()  # noqa: S608 - made of our own column names
INSERT: Final = f"""
    WITH stored AS (
        INSERT INTO sagas ({_names(_ALL)})
        SELECT * FROM unnest({_arrays(_ALL)})
        ON CONFLICT (saga_id) DO NOTHING
        RETURNING saga_id
    ), told AS (
        INSERT INTO saga_history ({_names(_LINE)})
        SELECT line.* FROM unnest({_arrays(_LINE)}) AS line ({_names(_LINE)})
        JOIN stored USING (saga_id)
    )
    SELECT {_OURS}, saga_id FROM stored
""".encode()  # noqa: S608 - made of our own column names
SAVE: Final = f"""
    WITH moved AS (
        UPDATE sagas SET {_assignments()}
        FROM unnest({_arrays(_SAVED)}) AS new ({_names(_SAVED)})
        WHERE sagas.saga_id = new.saga_id
        RETURNING 1
    ), told AS (
        INSERT INTO saga_history ({_names(_LINE)})
        SELECT * FROM unnest({_arrays(_LINE)})
    )
    SELECT {_OURS}, count(*) FROM moved
""".encode()  # noqa: S608 - made of our own column names

# Joined by a hash whatever is estimated: of the length of an array nothing is known.
_TOLD: Final = f"""
    INSERT INTO saga_history ({_names(_LINE)})
    SELECT line.* FROM unnest({_arrays(_LINE)}) AS line ({_names(_LINE)})
    WHERE (line.saga_id IN (SELECT saga_id FROM {{}})) IS TRUE
"""  # noqa: S608 - made of our own column names


# Asked once, by a subquery: the epoch is a file that the server reads. A decision whose moment is
# past, because this process stood still or a clock was set, would have deadlines that are past.
_IS_NOW: Final = "(SELECT {epoch}) = %s AND abs(extract(epoch FROM now() - %s)) < 1"


def insert_at_once(epoch: str) -> bytes:
    """INSERT as a transaction of its own, if that is the epoch, and the moment hardly past."""
    return f"""
        WITH stored AS (
            INSERT INTO sagas ({_names(_ALL)})
            SELECT new.* FROM unnest({_arrays(_ALL)}) AS new
            WHERE {_IS_NOW.format(epoch=epoch)}
            ON CONFLICT (saga_id) DO NOTHING
            RETURNING saga_id
        ), told AS (
            {_TOLD.format("stored")}
        )
        SELECT {_OURS}, now(), coalesce(array_agg(saga_id), ARRAY[]::text[]) FROM stored
    """.encode()  # noqa: S608 - made of our own column names


def save_at_once(epoch: str) -> bytes:
    """SAVE as a transaction of its own, under the same conditions: of the rows that have the
    marks after the columns."""
    return f"""
        WITH seen AS (
            SELECT new.* FROM unnest({_arrays(_SAVED)}, %s, %s, %s)
                AS new ({_names(_SAVED)}, marked_xmin, marked_version, marked_at)
            JOIN sagas ON sagas.saga_id = new.saga_id
            WHERE sagas.{_XMIN} = new.marked_xmin AND sagas.version = new.marked_version
                AND sagas.updated_at = new.marked_at AND {_IS_NOW.format(epoch=epoch)}
            FOR UPDATE OF sagas SKIP LOCKED
        ), moved AS (
            UPDATE sagas SET {_assignments()} FROM seen AS new
            WHERE sagas.saga_id = new.saga_id
            RETURNING sagas.saga_id
        ), told AS (
            {_TOLD.format("moved")}
        )
        SELECT {_OURS}, now(), coalesce(array_agg(saga_id), ARRAY[]::text[]) FROM moved
    """.encode()  # noqa: S608 - made of our own column names


async def fetch(driver: Driver, statement: bytes, values: Values) -> list[Any]:
    """All of its rows."""
    async with driver.cursor(binary=True) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


def texts(values: Sequence[str]) -> list[Array]:
    """The parameters of a statement that takes one list of texts."""
    return [array_of(TextArray, values)]


def insertion(rows: Sequence[SagaRow], decisions: Sequence[Decision]) -> list[Array]:
    """The parameters of INSERT."""
    return _by_column(_ALL, rows) + _by_column(_LINE, history_of(decisions))


def saving(rows: Sequence[SagaRow], decisions: Sequence[Decision]) -> list[Array]:
    """The parameters of SAVE."""
    return _by_column(_SAVED, rows) + _by_column(_LINE, history_of(decisions))


def insertion_at_once(
    rows: Sequence[SagaRow], decisions: Sequence[Decision], epoch: str, now: datetime
) -> Values:
    """The parameters of `insert_at_once`."""
    return [*_by_column(_ALL, rows), epoch, now, *_by_column(_LINE, history_of(decisions))]


def saving_at_once(
    rows: Sequence[SagaRow],
    decisions: Sequence[Decision],
    marks: Sequence[Mark],
    epoch: str,
    now: datetime,
) -> Values:
    """The parameters of `save_at_once`."""
    marked = [
        array_of(BigintArray, [mark.xmin for mark in marks]),
        array_of(BigintArray, [mark.version for mark in marks]),
        array_of(MomentArray, [mark.updated_at for mark in marks]),
    ]
    saved, lines = _by_column(_SAVED, rows), _by_column(_LINE, history_of(decisions))
    return [*saved, *marked, epoch, now, *lines]


def _by_column(columns: Columns, rows: Sequence[NamedTuple]) -> list[Array]:
    """An array for each of the columns of rows which may have more."""
    values = list(zip(*rows, strict=True))
    kinds_and_places = _PLACES[columns]
    return [array_of(kind, values[place] if values else ()) for kind, place in kinds_and_places]


def _places(columns: Columns) -> list[tuple[type[Array], int]]:
    everything = list(columns[0].table.columns)
    return [
        (_KINDS[column.type.compile(dialect=_DIALECT)], everything.index(column))
        for column in columns
    ]


_PLACES: Final = {columns: _places(columns) for columns in (_ALL, _SAVED, _LINE)}
