"""What stands by ledgers that are only added to: entries that do, less entries that undo."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """The kinds of entries by which a step is done and undone."""

    ledger: Table
    done: str
    undone: tuple[str, ...] = ()


async def standing(
    connection: AsyncConnection, saga_id: str, steps: Mapping[str, Entries]
) -> Mapping[str, int]:
    """How often each step stands, of those that have an entry."""
    counts: dict[str, int] = {}
    for step, entries in steps.items():
        kind = entries.ledger.c.kind
        own = select(kind, func.count()).where(entries.ledger.c.saga_id == saga_id).group_by(kind)
        found = {row[0]: row[1] for row in await connection.execute(own)}
        undone = sum(found.get(name, 0) for name in entries.undone)
        if found:
            counts[step] = found.get(entries.done, 0) - undone
    return counts
