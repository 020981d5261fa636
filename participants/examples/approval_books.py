"""The books of the purchases: budgets, requests and what became of them, orders."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    MetaData,
    String,
    Table,
    Text,
    insert,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from participants.examples.accounting import (
    Books,
    Row,
    counted,
    ledger,
    money,
    rows_of,
    saga_problems,
)

metadata: Final = MetaData()


budgets: Final = Table(
    "approval_budgets",
    metadata,
    Column("department", String(100), primary_key=True),
    Column("total_cents", BigInteger, nullable=False),
    Column("free_cents", BigInteger, nullable=False),
    CheckConstraint("free_cents >= 0", name="approval_budgets_not_overspent"),
)
suppliers: Final = Table(
    "approval_suppliers", metadata, Column("supplier", String(100), primary_key=True)
)
requests: Final = Table(
    "approval_requests",
    metadata,
    Column("saga_id", String(200), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("cents", BigInteger, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("remind_at", DateTime(timezone=True)),  # None: they have been reminded
)
set_aside: Final = ledger(
    metadata,
    "approval_set_aside",
    Column("department", String(100), nullable=False),
    Column("cents", BigInteger, nullable=False),
)
# The kinds: asked, reminded, approved, declined, withdrawn.
events: Final = ledger(metadata, "approval_events", Column("by", String(100)))
orders: Final = ledger(
    metadata,
    "approval_orders",
    Column("supplier", String(100), nullable=False),
    Column("cents", BigInteger, nullable=False),
)


async def create_missing(connection: AsyncConnection) -> None:
    """All tables of the purchases, where they are missing."""
    await connection.run_sync(metadata.create_all)


async def grant(connection: AsyncConnection, department: str, cents: int) -> None:
    """A department's budget."""
    row = {"department": department, "total_cents": cents, "free_cents": cents}
    await connection.execute(insert(budgets).values(row))


async def list_supplier(connection: AsyncConnection, supplier: str) -> None:
    """Somebody who takes our orders."""
    await connection.execute(insert(suppliers).values(supplier=supplier))


async def balance(engine: AsyncEngine, completed: Collection[str]) -> Books:
    """Sum up the books once all sagas have ended, of which these have completed."""
    rows = await rows_of(engine, metadata)
    counts = counted(rows[table.name] for table in (set_aside, events, orders))
    kinds = Counter(row["kind"] for row in rows["approval_events"])
    granted = sum(row["total_cents"] for row in rows["approval_budgets"])
    free = sum(row["free_cents"] for row in rows["approval_budgets"])
    ordered = sum(row["cents"] for row in rows["approval_orders"])
    said = ("asked", "reminded", "approved", "declined", "withdrawn")
    return Books(
        lines={
            **{kind: str(kinds[kind]) for kind in said},
            "granted": money(granted),
            "ordered": money(ordered),
            "free": money(free),
        },
        problems=[
            *_total_problems(granted, free, ordered),
            *saga_problems(counts, completed, _wanted),
            *(f"the request of {each} is still open" for each in _open(rows)),
        ],
    )


def _total_problems(granted: int, free: int, ordered: int) -> Iterator[str]:
    if granted != free + ordered:
        total = f"{money(free)} is free and {money(ordered)} ordered"
        yield f"{money(granted)} was granted, but {total}"


def _open(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    return (row["saga_id"] for row in rows["approval_requests"] if row["is_open"])


def _wanted(found: Counter[str], is_completed: bool) -> Mapping[str, int]:
    """Nothing is ordered that was not approved, and nobody's money is kept for nothing."""
    wanted = _bought() if is_completed else _undone(found)
    return wanted | {"reminded": min(1, found["reminded"])}


def _bought() -> dict[str, int]:
    return dict.fromkeys(("set aside", "asked", "approved", "ordered"), 1)


def _undone(found: Counter[str]) -> dict[str, int]:
    """Money given back; a request is declined or withdrawn, also one that had been approved."""
    back = dict.fromkeys(("set aside", "given back"), min(1, found["set aside"]))
    if not found["asked"]:
        return back
    answered = "declined" if found["declined"] else "withdrawn"
    approved = 0 if found["declined"] else min(1, found["approved"])
    return back | {"asked": 1, answered: 1, "approved": approved}
