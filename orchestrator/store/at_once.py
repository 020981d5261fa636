"""The two statements that save what was decided from memory, each a transaction of its own.

Rows of a batch are arrays of columns. A row that is alone, as under little load, is said as it
is: to make thirty arrays, and to take them apart, costs more than one row.
See docs/adr/0028-a-lone-step-asks-postgres-directly.md.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from re import sub
from typing import Any, Final, NamedTuple

from psycopg.pq.abc import PGresult

from orchestrator.saga.state import Decision
from orchestrator.store.arrays import (
    BigintArray,
    MomentArray,
    TextArray,
    array_of,
    element_of,
    moment_from,
    type_of,
)
from orchestrator.store.direct import Statement, Value
from orchestrator.store.remembered import Mark
from orchestrator.store.rows import SagaRow, history_of
from orchestrator.store.statements import (
    ALL,
    LINE,
    OURS,
    SAVED,
    XMIN,
    Places,
    assignments,
    names,
    places_of,
)

_FEW: Final = 4  # lines of history beside a single row: hardly ever are there more
_ALL: Final = places_of(ALL)
_LINE: Final = places_of(LINE)
# Behind a row's columns stands its mark.
_MARK: Final = ("marked_xmin", "marked_version", "marked_at")
_WIDTH: Final = len(SagaRow._fields)
_MARKED: Final[Places] = [
    *places_of(SAVED),
    (BigintArray, _WIDTH),
    (BigintArray, _WIDTH + 1),
    (MomentArray, _WIDTH + 2),
]
_GUARD: Final[Places] = [(TextArray, 0), (MomentArray, 1)]  # epoch and moment

# Asked once, by a subquery: the epoch is a file that the server reads. A decision whose moment is
# past, because this process stood still or a clock was set, would have deadlines that are past.
_IS_NOW: Final = "(SELECT {epoch}) = %s AND abs(extract(epoch FROM now() - %s)) < 1"
# Joined by a hash whatever is estimated: of the length of an array nothing is known.
_TOLD: Final = f"""
    INSERT INTO saga_history ({names(LINE)})
    SELECT line.* FROM {{lines}} AS line ({names(LINE)})
    WHERE (line.saga_id IN (SELECT saga_id FROM {{stored}})) IS TRUE
"""  # noqa: S608 - made of our own column names
_INSERT: Final = f"""
    WITH stored AS (
        INSERT INTO sagas ({names(ALL)})
        SELECT new.* FROM {{rows}} AS new
        WHERE {_IS_NOW}
        ON CONFLICT (saga_id) DO NOTHING
        RETURNING saga_id
    ), told AS (
        {_TOLD.replace("{stored}", "stored")}
    )
    SELECT {OURS}, now(), saga_id FROM stored
"""  # noqa: S608 - made of our own column names
_SAVE: Final = f"""
    WITH seen AS (
        SELECT new.* FROM {{rows}} AS new ({names(SAVED)}, {", ".join(_MARK)})
        JOIN sagas ON sagas.saga_id = new.saga_id
        WHERE sagas.{XMIN} = new.marked_xmin AND sagas.version = new.marked_version
            AND sagas.updated_at = new.marked_at AND {_IS_NOW}
        FOR UPDATE OF sagas SKIP LOCKED
    ), moved AS (
        UPDATE sagas SET {assignments()} FROM seen AS new
        WHERE sagas.saga_id = new.saga_id
        RETURNING sagas.saga_id
    ), told AS (
        {_TOLD.replace("{stored}", "moved")}
    )
    SELECT {OURS}, now(), saga_id FROM moved
"""  # noqa: S608 - made of our own column names


class Question(NamedTuple):
    """A statement with its values."""

    statement: Statement
    values: Sequence[Value]


class Stored(NamedTuple):
    """What the server has answered."""

    saga_ids: Sequence[str]
    xmin: int  # of their rows
    now: datetime


class AtOnce:
    """Both statements, for one way to ask for the epoch, an expression of SQL."""

    def __init__(self, epoch: str) -> None:
        self._inserting = _Form(_INSERT.replace("{epoch}", epoch), _ALL)
        self._saving = _Form(_SAVE.replace("{epoch}", epoch), _MARKED)

    def insertion(
        self, rows: Sequence[SagaRow], decisions: Sequence[Decision], epoch: str, now: datetime
    ) -> Question:
        """Insert these, if that is the epoch, and the moment hardly past."""
        return self._inserting.question(rows, decisions, epoch, now)

    def saving(
        self,
        rows: Sequence[SagaRow],
        decisions: Sequence[Decision],
        marks: Sequence[Mark],
        epoch: str,
        now: datetime,
    ) -> Question:
        """Save these, under the same conditions, where the row still has its mark."""
        marked = [
            (*row, mark.xmin, mark.version, mark.updated_at)
            for row, mark in zip(rows, marks, strict=True)
        ]
        return self._saving.question(marked, decisions, epoch, now)


class _Form:
    """A statement for any number of rows, and the same for one that is alone."""

    def __init__(self, template: str, places: Places) -> None:
        self._template = template
        self._places = places
        self._statements: dict[int | None, Statement] = {}  # by lines beside one row; None: any

    def question(
        self,
        rows: Sequence[tuple[Any, ...]],
        decisions: Sequence[Decision],
        epoch: str,
        now: datetime,
    ) -> Question:
        lines = history_of(decisions)
        alone = len(lines) if len(rows) == 1 and 1 <= len(lines) <= _FEW else None
        if alone not in self._statements:
            self._statements[alone] = self._statement(alone)
        write = _columns if alone is None else _rows
        values = [
            *write(self._places, rows),
            *_rows(_GUARD, [(epoch, now)]),
            *write(_LINE, lines),
        ]
        return Question(self._statements[alone], values)

    def _statement(self, lines: int | None) -> Statement:
        one = None if lines is None else 1
        text = self._template.format(rows=_source(self._places, one), lines=_source(_LINE, lines))
        numbers = count(1)
        return Statement(
            text=sub("%s", lambda _: f"${next(numbers)}", text).encode(),
            types=[*_types(self._places, one), *_types(_GUARD, 1), *_types(_LINE, lines)],
        )


def stored_by(result: PGresult) -> Stored | None:
    """What it says; None if nothing was stored."""
    if not result.ntuples:
        return None
    xmin, now = (result.get_value(0, column) or b"" for column in (0, 1))
    saga_ids = [(result.get_value(row, 2) or b"").decode() for row in range(result.ntuples)]
    return Stored(saga_ids, int.from_bytes(xmin), moment_from(now))


def _source(places: Places, rows: int | None) -> str:
    """A table of parameters: so many rows, or any number in arrays."""
    parameters = f"({', '.join('%s' for _ in places)})"
    return f"unnest{parameters}" if rows is None else f"(VALUES {', '.join([parameters] * rows)})"


def _types(places: Places, rows: int | None) -> Sequence[int]:
    if rows is None:
        return [type_of(kind).array for kind, _ in places]
    return [type_of(kind).element for kind, _ in places] * rows


def _rows(places: Places, rows: Sequence[tuple[Any, ...]]) -> Sequence[Value]:
    """One after the other."""
    return [element_of(kind, row[place]) for row in rows for kind, place in places]


def _columns(places: Places, rows: Sequence[tuple[Any, ...]]) -> Sequence[Value]:
    """An array for each."""
    values = list(zip(*rows, strict=True))
    return [array_of(kind, values[place] if values else ()) for kind, place in places]
