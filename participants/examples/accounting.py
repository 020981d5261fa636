"""What the examples' books have in common: rows as of one moment, counted by saga and kind."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import MetaData, Table, insert, select
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


def differences(saga_id: str, found: Counter[str], wanted: Mapping[str, int]) -> Iterator[str]:
    """Where a saga has other rows than it should."""
    for kind in sorted(found.keys() | wanted.keys()):
        if found[kind] != wanted.get(kind, 0):
            yield f"saga {saga_id}: {kind} {found[kind]} times, not {wanted.get(kind, 0)}"


def money(cents: int) -> str:
    """Cents as people write them: 1,234.50."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


async def own_rows(context: Context, ledger: Table, kind: str) -> Sequence[Row]:
    """What this saga has of one kind in a ledger."""
    query = select(ledger).where(ledger.c.saga_id == context.saga_id, ledger.c.kind == kind)
    return [dict(row) for row in (await context.session.execute(query)).mappings()]


async def write(context: Context, ledger: Table, kind: str, **values: object) -> None:
    """Add a row to a ledger. Ledgers are only ever added to."""
    row = {"saga_id": context.saga_id, "kind": kind, **values}
    await context.session.execute(insert(ledger).values(row))
