"""The audit of any number of sagas: each question is one statement over all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.product.installation import Place
from tests.product.orders import Asked
from tests.soak.ledgers import lay_out, stock_errors
from tests.soak.questions import DOUBLED, LOST, PROBLEMS, STUCK, VIEWS

SHOWN = 10
"""So many answers to each question are kept; all are counted."""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What must not be."""

    question: str
    count: int
    examples: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of all sagas."""

    sagas: int
    ended: int
    waiting: int
    """Those that somebody has been told to look after."""
    lost: Sequence[Finding]
    doubled: Sequence[Finding]
    stuck: Sequence[Finding]
    problems: Sequence[Finding]

    @property
    def findings(self) -> Sequence[Finding]:
        return [*self.lost, *self.doubled, *self.stuck, *self.problems]


def audited(place: Place, asked: Iterable[Asked], told: Mapping[str, str]) -> Verdict:
    """The verdict on everything that was asked for, once all is quiet."""
    lay_out(place, asked, told)
    with psycopg.connect(place.saga_database) as there:
        there.execute(VIEWS)
        return Verdict(
            sagas=_number(there, "SELECT count(*) FROM audit.asked"),
            ended=_number(there, "SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL"),
            waiting=_number(there, "SELECT count(DISTINCT saga_id) FROM waiting"),
            lost=_answers(there, LOST),
            doubled=_answers(there, DOUBLED),
            stuck=_answers(there, STUCK),
            problems=[*_answers(there, PROBLEMS), *_wrong_shelves(place)],
        )


def _answers(there: Connection, questions: Mapping[str, str]) -> list[Finding]:
    found = []
    for question, query in questions.items():
        if rows := there.execute(query).fetchall():
            examples = [", ".join(map(str, row)) for row in rows[:SHOWN]]
            found.append(Finding(question=question, count=len(rows), examples=examples))
    return found


def _wrong_shelves(place: Place) -> list[Finding]:
    if not (errors := stock_errors(place)):
        return []
    return [Finding(question="shelf and ledger disagree", count=len(errors), examples=errors)]


def _number(there: Connection, query: str) -> int:
    row = there.execute(query).fetchone()
    assert row is not None
    return int(row[0])
