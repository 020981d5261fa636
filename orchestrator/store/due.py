"""Whether a saga is due, and when the next one is, as columns of a query."""

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.store.tables import sagas

Moment = sa.ColumnElement[datetime]

# What has been due for longer than this is nobody's: its type is unknown here, or its row
# cannot be read. It is still found by every look, and counted as stuck, but wakes no one.
OVERDUE: Final = timedelta(seconds=10)


def due_at(now: Moment, overdue: Moment) -> tuple[sa.Exists, sa.ScalarSelect[Any]]:
    """For an `Outlook`: whether a saga is due, and when the next one is that is not overdue."""
    soon = sa.select(sa.func.min(sagas.c.wake_at)).where(sagas.c.wake_at > overdue)
    return sa.exists().where(sagas.c.wake_at <= now), soon.scalar_subquery()
