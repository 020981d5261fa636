"""What the examples' books have in common: ledgers, and what is counted in them by saga."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from participants import Context

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What an example's books say, and one line for everything that does not add up."""

    lines: Mapping[str, str]
    problems: Sequence[str]

    @property
    def is_balanced(self) -> bool:
        return not self.problems


def ledger(metadata: MetaData, name: str, *columns: Column[Any]) -> Table:
    """A table that is only ever added to: what was done and undone, for which saga."""
    return Table(
        name,
        metadata,
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("saga_id", String(200), nullable=False),
        Column("kind", String(30), nullable=False),
        *columns,
        Index(f"{name}_saga_id", "saga_id"),
    )


async def rows_of(engine: AsyncEngine, metadata: MetaData) -> Mapping[str, Sequence[Row]]:
    """All rows of all tables, by the table's name, as of one moment."""
    async with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        return {
            table.name: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in metadata.sorted_tables
        }


def counted(ledgers: Iterable[Sequence[Row]]) -> Mapping[str, Counter[str]]:
    """How many rows of each kind every saga has, by its id."""
    counts: dict[str, Counter[str]] = {}
    for row in (row for ledger in ledgers for row in ledger):
        counts.setdefault(row["saga_id"], Counter())[row["kind"]] += 1
    return counts


def saga_problems(
    counts: Mapping[str, Counter[str]],
    completed: Collection[str],
    wanted: Callable[[Counter[str], bool], Mapping[str, int]],
) -> Iterator[str]:
    """Where a saga has other rows than are `wanted` of it, by those it has and whether it has
    completed."""
    for saga_id in sorted({*counts, *completed}):
        found = counts.get(saga_id, Counter())
        yield from _differences(saga_id, found, wanted(found, saga_id in completed))


def money(cents: int) -> str:
    """Cents as people write them: 1,234.50."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


async def own_rows(context: Context, book: Table, kind: str) -> Sequence[Row]:
    """What this saga has of one kind in a ledger."""
    query = select(book).where(book.c.saga_id == context.saga_id, book.c.kind == kind)
    return [dict(row) for row in (await context.session.execute(query)).mappings()]


async def write(context: Context, book: Table, kind: str, **values: object) -> None:
    """Add a row to a ledger. Ledgers are only ever added to."""
    row = {"saga_id": context.saga_id, "kind": kind, **values}
    await context.session.execute(insert(book).values(row))


def _differences(saga_id: str, found: Counter[str], wanted: Mapping[str, int]) -> Iterator[str]:
    """Where a saga has other rows than it should."""
    for kind in sorted(found.keys() | wanted.keys()):
        if found[kind] != wanted.get(kind, 0):
            yield f"saga {saga_id}: {kind} {found[kind]} times, not {wanted.get(kind, 0)}"
