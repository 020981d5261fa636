"""The order example's books: one ledger for each service, and the proof that they balance.

Ledgers are only ever added to, and nothing in them forbids a second entry: an effect that
happened twice, or was never undone, shows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    MetaData,
    String,
    Table,
    Text,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from participants.examples.accounting import ledger

INITIAL_STOCK: Final = 1_000_000
"""What the warehouse holds of an article when it is first asked for."""

metadata: Final = MetaData()


def _timed(name: str, *columns: Column[Any]) -> Table:
    at = Column("at", DateTime(timezone=True), nullable=False, server_default=func.now())
    return ledger(metadata, name, *columns, at)


inventory_stock: Final = Table(
    "inventory_stock",
    metadata,
    Column("sku", String(100), primary_key=True),
    Column("available", BigInteger, nullable=False),
    CheckConstraint("available >= 0", name="inventory_stock_not_negative"),
)
inventory_reservations: Final = _timed(
    "inventory_reservations",
    Column("sku", String(100), nullable=False),
    Column("quantity", BigInteger, nullable=False),
)
payments: Final = _timed(
    "payments",
    Column("amount_cents", BigInteger, nullable=False),
    Column("method", Text, nullable=False),
)
shipments: Final = _timed("shipments", Column("tracking_number", String(100), nullable=False))
notifications: Final = _timed("notifications", Column("text", Text, nullable=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """A service's entries in its ledger: what it does, and what undoes that."""

    ledger: Table
    done: str
    undone: str


EFFECTS: Final[Mapping[str, Effects]] = {
    "reserve_inventory": Effects(ledger=inventory_reservations, done="reserve", undone="release"),
    "process_payment": Effects(ledger=payments, done="charge", undone="refund"),
    "create_shipment": Effects(ledger=shipments, done="create", undone="cancel"),
    "send_confirmation": Effects(ledger=notifications, done="confirmation", undone="cancellation"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How often each step of one saga took effect, and was undone."""

    done: Mapping[str, int] = field(default_factory=dict)
    undone: Mapping[str, int] = field(default_factory=dict)

    @property
    def left(self) -> frozenset[str]:
        """The steps whose effect stands."""
        return frozenset(
            step for step in EFFECTS if self.done.get(step, 0) > self.undone.get(step, 0)
        )

    def problems(self) -> Iterator[str]:
        """Nothing, if every effect happened at most once, and all four stand or none does."""
        for step in EFFECTS:
            done, undone = self.done.get(step, 0), self.undone.get(step, 0)
            if done > 1 or undone > done:
                yield f"{step} was done {done} times and undone {undone} times"
        if self.left and len(self.left) < len(EFFECTS):
            yield f"only {', '.join(sorted(self.left))} stands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """All ledgers, by saga. A saga that is still under way does not balance yet."""

    accounts: Mapping[str, Account]
    stock_errors: Sequence[str] = ()

    @property
    def fulfilled(self) -> frozenset[str]:
        """The sagas of which all four effects stand."""
        return frozenset(
            saga_id for saga_id, one in self.accounts.items() if len(one.left) == len(EFFECTS)
        )

    @property
    def undone(self) -> frozenset[str]:
        """The sagas of which nothing is left."""
        return frozenset(saga_id for saga_id, one in self.accounts.items() if not one.left)

    @property
    def problems(self) -> Sequence[str]:
        """One line for everything that does not balance."""
        of_sagas = [
            f"saga {saga_id}: {problem}"
            for saga_id, account in sorted(self.accounts.items())
            for problem in account.problems()
        ]
        return [*of_sagas, *self.stock_errors]

    @property
    def is_balanced(self) -> bool:
        return not self.problems


async def create_missing(connection: AsyncConnection) -> None:
    """All tables of the example, where they are missing."""
    await connection.run_sync(metadata.create_all)


async def balance(engine: AsyncEngine) -> Books:
    """Sum up the books, as of one moment."""
    async with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        accounts = await _accounts(connection)
        return Books(accounts=accounts, stock_errors=await _stock_errors(connection))


async def _accounts(connection: AsyncConnection) -> Mapping[str, Account]:
    done: dict[str, dict[str, int]] = {}
    undone: dict[str, dict[str, int]] = {}
    for row in await connection.execute(union_all(*map(_counts, EFFECTS))):
        side = done if row.kind == EFFECTS[row.step].done else undone
        side.setdefault(row.saga_id, {})[row.step] = row.times
    return {
        saga_id: Account(done=done.get(saga_id, {}), undone=undone.get(saga_id, {}))
        for saga_id in done.keys() | undone.keys()
    }


def _counts(step: str):  # type: ignore[no-untyped-def]  # the type of a select says nothing here
    """How often a step took effect, by saga and kind; a reservation has a line per article."""
    ledger = EFFECTS[step].ledger
    per_line = [ledger.c.sku] if "sku" in ledger.c else []
    lines = (
        select(ledger.c.saga_id, ledger.c.kind, func.count().label("times"))
        .group_by(ledger.c.saga_id, ledger.c.kind, *per_line)
        .subquery()
    )
    return select(
        literal(step).label("step"),
        lines.c.saga_id,
        lines.c.kind,
        func.max(lines.c.times).label("times"),
    ).group_by(lines.c.saga_id, lines.c.kind)


async def _stock_errors(connection: AsyncConnection) -> Sequence[str]:
    """Articles of which the shelf and the ledger disagree."""
    sign = {"reserve": -1, "release": 1}
    held: dict[str, int] = {}
    ledger = inventory_reservations
    lines = select(ledger.c.sku, ledger.c.kind, func.sum(ledger.c.quantity).label("quantity"))
    for row in await connection.execute(lines.group_by(ledger.c.sku, ledger.c.kind)):
        held[row.sku] = held.get(row.sku, 0) + sign[row.kind] * int(row.quantity)
    stock = await connection.execute(select(inventory_stock))
    return [
        f"article {row.sku}: {row.available} available, but the ledger says {expected}"
        for row in stock
        if row.available != (expected := INITIAL_STOCK + held.get(row.sku, 0))
    ]
