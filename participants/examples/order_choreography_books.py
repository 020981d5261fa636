"""The choreographed order's books: a ledger for each service, and the proof that they agree."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, MetaData, String, Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

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

stock: Final = Table(
    "choreo_stock",
    metadata,
    Column("sku", String(100), primary_key=True),
    Column("stocked", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    CheckConstraint("available >= 0", name="choreo_stock_not_negative"),
)
# The kinds: placed, completed, cancelled.
orders: Final = ledger(metadata, "choreo_orders", Column("cents", BigInteger, nullable=False))
# The kinds: reserved, released.
reservations: Final = ledger(
    metadata,
    "choreo_reservations",
    Column("sku", String(100), nullable=False),
    Column("quantity", BigInteger, nullable=False),
)
# The kinds: charged, refunded.
payments: Final = ledger(metadata, "choreo_payments", Column("cents", BigInteger, nullable=False))
# The kind: shipped.
shipments: Final = ledger(
    metadata, "choreo_shipments", Column("address", String(100), nullable=False)
)
LEDGERS: Final = (orders, reservations, payments, shipments)


async def create_missing(connection: AsyncConnection) -> None:
    """All tables of the example, where they are missing."""
    await connection.run_sync(metadata.create_all)


async def put_on_shelf(connection: AsyncConnection, sku: str, pieces: int) -> None:
    row = {"sku": sku, "stocked": pieces, "available": pieces}
    await connection.execute(insert(stock).values(row))


async def note(session: AsyncSession, book: Table, saga_id: str, kind: str, **row: object) -> None:
    """Add a row to a ledger. Ledgers are only ever added to."""
    await session.execute(insert(book).values({"saga_id": saga_id, "kind": kind, **row}))


async def balance(engine: AsyncEngine, completed: Collection[str]) -> Books:
    """Sum up the books once all sagas have ended, of which these have completed."""
    rows = await rows_of(engine, metadata)
    counts = counted(rows[table.name] for table in LEDGERS)
    kinds = Counter(row["kind"] for table in LEDGERS for row in rows[table.name])
    cents = {
        kind: sum(row["cents"] for row in rows[payments.name] if row["kind"] == kind)
        for kind in ("charged", "refunded")
    }
    lines = {
        f"orders {kind}": str(kinds[kind])
        for kind in ("placed", "reserved", "released", "shipped", "completed", "cancelled")
    }
    return Books(
        lines={**lines, **{kind: money(sum_) for kind, sum_ in cents.items()}},
        problems=[
            *saga_problems(counts, completed, _wanted),
            *_shelf_problems(rows),
            *_money_problems(rows),
        ],
    )


def _wanted(found: Counter[str], is_completed: bool) -> Mapping[str, int]:
    """All of it stands, or whatever was done is undone."""
    if is_completed:
        return dict.fromkeys(("placed", "reserved", "charged", "shipped", "completed"), 1)
    undone = {"reserved": "released", "charged": "refunded"}
    pairs = [kind for done, back in undone.items() if found[done] for kind in (done, back)]
    return dict.fromkeys(("placed", "cancelled", *pairs), 1)


def _shelf_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Articles of which more or fewer pieces are gone than the reservations say."""
    taken = Counter[str]()
    for row in rows[reservations.name]:
        taken[row["sku"]] += row["quantity"] if row["kind"] == "reserved" else -row["quantity"]
    for row in rows[stock.name]:
        gone = row["stocked"] - row["available"]
        if gone != taken[row["sku"]]:
            yield f"article {row['sku']}: {gone} pieces gone, {taken[row['sku']]} reserved"


def _money_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Who is refunded gets back what was charged."""
    sums: dict[str, Counter[str]] = {}
    for row in rows[payments.name]:
        sums.setdefault(row["saga_id"], Counter())[row["kind"]] += row["cents"]
    for saga_id, of in sorted(sums.items()):
        if of["refunded"] not in {0, of["charged"]}:
            yield f"saga {saga_id}: {money(of['charged'])} charged, {money(of['refunded'])} back"
