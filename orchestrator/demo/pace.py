"""How fast it went, from the times that the orchestrator has stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from orchestrator.store.database import DatabaseStore
from orchestrator.store.tables import saga_history, sagas


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`ended` sagas from the first beginning to the last end, and how long one of them took."""

    ended: int
    took: timedelta
    median: timedelta
    most: timedelta  # what 95 of 100 sagas did not exceed

    @property
    def per_second(self) -> float:
        seconds = self.took.total_seconds()
        return self.ended / seconds if seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "ended": self.ended,
            "seconds": round(self.took.total_seconds(), 3),
            "per_second": round(self.per_second, 1),
            "saga_seconds_median": round(self.median.total_seconds(), 3),
            "saga_seconds_95_percent": round(self.most.total_seconds(), 3),
        }


async def measured_pace(store: DatabaseStore) -> Pace | None:
    """The pace of all sagas that have ended; None if none has."""
    is_beginning = (saga_history.c.saga_id == sagas.c.saga_id) & (saga_history.c.version == 1)
    times = (
        select(saga_history.c.at, sagas.c.ended_at)
        .join(sagas, is_beginning)
        .where(sagas.c.ended_at.is_not(None))
    )
    async with store.reading() as connection:
        rows = (await connection.execute(times)).all()
    return pace_of([(row.at, row.ended_at) for row in rows]) if rows else None


def pace_of(lifetimes: Sequence[tuple[datetime, datetime]]) -> Pace:
    """From the beginnings and ends of at least one saga."""
    lasted = sorted(end - start for start, end in lifetimes)
    first, last = min(start for start, _ in lifetimes), max(end for _, end in lifetimes)
    return Pace(
        ended=len(lasted),
        took=last - first,
        median=lasted[(len(lasted) - 1) // 2],
        most=lasted[(len(lasted) - 1) * 95 // 100],
    )
