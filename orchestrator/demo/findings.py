"""What is in the databases when all is over, and whether it is as expected."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from dlq_worker.listing import LetterFilter, list_letters
from dlq_worker.notices import Notice
from dlq_worker.views import LetterView
from messaging.contract import Direction
from orchestrator.demo.installation import Databases
from orchestrator.demo.ledgers import Audit, audit
from orchestrator.demo.orders import Ending, Kind, Order
from orchestrator.demo.pace import Pace, measured_pace
from orchestrator.demo.tally import Tally
from orchestrator.saga.state import SagaState, StepStatus
from orchestrator.store.database import DatabaseStore
from orchestrator.store.queries import show_saga
from orchestrator.store.tables import sagas

_EVERY_LETTER: Final = LetterFilter(statuses=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What has become of the orders of one kind."""

    kind: Kind
    endings: Mapping[Ending, int]

    @property
    def orders(self) -> int:
        return sum(self.endings.values())

    @property
    def is_as_expected(self) -> bool:
        return self.endings.get(self.kind.ending, 0) == self.orders

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.title,
            "orders": self.orders,
            **{ending.value: self.endings.get(ending, 0) for ending in Ending},
            "expected": self.kind.ending.value,
            "as_expected": self.is_as_expected,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that the demo has to tell."""

    example: str  # an order to look at
    outcomes: Sequence[Outcome]
    letters: Sequence[LetterView]
    notices: Sequence[Notice]
    books: Audit
    pace: Pace | None
    commands: int
    compensations: int
    retries: int
    problems: Sequence[str]  # one line for everything that is not as expected, but the books
    remarks: Sequence[str]

    @property
    def is_as_expected(self) -> bool:
        return not self.problems and self.books.is_balanced

    def to_json(self) -> dict[str, Any]:
        return {
            "as_expected": self.is_as_expected,
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "dead_letters": [letter.to_json() for letter in self.letters],
            "alerts": [notice.to_json() for notice in self.notices],
            "books": self.books.to_json(),
            "pace": self.pace.to_json() if self.pace else None,
            "commands": self.commands,
            "compensations": self.compensations,
            "compensation_retries": self.retries,
            "problems": list(self.problems),
            "remarks": list(self.remarks),
        }


async def examined(databases: Databases, orders: Sequence[Order], tally: Tally) -> Findings:
    """Look into both databases. The programs have drained."""
    endings = await _endings(databases.store, orders)
    letters = await list_letters(databases.store, _EVERY_LETTER)
    return Findings(
        example=orders[0].saga_id,
        outcomes=_outcomes(orders, endings),
        letters=letters,
        notices=tuple(tally.notices),
        books=await audit(databases.inbox.engine, orders, endings),
        pace=await measured_pace(databases.store),
        commands=tally.commands[Direction.ACTION],
        compensations=tally.commands[Direction.COMPENSATION],
        retries=tally.retries,
        problems=[
            *_unexpected_endings(orders, endings),
            *_unexpected_letters(orders, letters, tally.notices),
        ],
        remarks=tuple(tally.remarks),
    )


async def _endings(store: DatabaseStore, orders: Sequence[Order]) -> Mapping[str, Ending]:
    async with store.reading() as connection:
        rows = await connection.execute(select(sagas.c.saga_id, sagas.c.state))
        states = {row.saga_id: row.state for row in rows}
    ids = [order.saga_id for order in orders]
    return {saga_id: await _ending(store, saga_id, states.get(saga_id)) for saga_id in ids}


async def _ending(store: DatabaseStore, saga_id: str, state: str | None) -> Ending:
    match state:
        case SagaState.COMPLETED:
            return Ending.COMPLETED
        case SagaState.FAILED:
            return Ending.FAILED
        case SagaState.COMPENSATING:
            saga = await show_saga(store, saga_id)
            statuses = {step.status for step in saga.steps} if saga else set()
            is_halted = StepStatus.COMPENSATION_FAILED in statuses
            return Ending.HALTED if is_halted else Ending.UNFINISHED
        case _:
            return Ending.UNFINISHED


def _outcomes(orders: Sequence[Order], endings: Mapping[str, Ending]) -> Sequence[Outcome]:
    """One for each kind, in the order of the catalogue."""
    by_kind: dict[str, tuple[Kind, Counter[Ending]]] = {}
    for order in sorted(orders, key=lambda each: each.kind.rank):
        _, counts = by_kind.setdefault(order.kind.title, (order.kind, Counter()))
        counts[endings[order.saga_id]] += 1
    return [Outcome(kind=kind, endings=counts) for kind, counts in by_kind.values()]


def _unexpected_endings(orders: Sequence[Order], endings: Mapping[str, Ending]) -> Iterator[str]:
    for order in orders:
        ending, expected = endings[order.saga_id], order.kind.ending
        if ending is not expected:
            yield f"{order.saga_id} ({order.kind.title}) is {ending}, not {expected}"


def _unexpected_letters(
    orders: Sequence[Order], letters: Sequence[LetterView], notices: Sequence[Notice]
) -> Iterator[str]:
    """One dead letter, and one alert, for each order that nobody but a person can end."""
    halted = Counter(order.saga_id for order in orders if order.kind.ending is Ending.HALTED)
    yield from _difference("dead letter", halted, Counter(_saga_of(each) for each in letters))
    yield from _difference("alert", halted, Counter(each.saga_id or "" for each in notices))


def _saga_of(view: LetterView) -> str:
    return view.stored.letter.saga_id or ""


def _difference(noun: str, expected: Counter[str], found: Counter[str]) -> Iterator[str]:
    for saga_id in sorted(expected.keys() | found.keys()):
        if expected[saga_id] != found[saga_id]:
            about = saga_id or "no saga"
            yield f"{noun}s about {about}: {found[saga_id]}, not {expected[saga_id]}"
