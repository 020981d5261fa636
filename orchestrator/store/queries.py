"""Reading sagas for the command line, the console and clients. Nothing here changes one."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from orchestrator.saga.state import Saga, SagaState
from orchestrator.store.database import (
    OPEN_STATES,
    SAGA_COLUMNS,
    STUCK_AFTER,
    UNFINISHED,
    DatabaseStore,
    is_stuck,
)
from orchestrator.store.errors import StatementRejected
from orchestrator.store.lock_views import WAITS_FOR, locks_of
from orchestrator.store.rows import HistoryRow, SagaRow, failure_from, saga_from
from orchestrator.store.tables import saga_history, sagas
from orchestrator.store.views import SagaSummary, SagaView, failure_view, line_of, view_of

MAX_LISTED: Final = 1000

_SUMMARY: Final = (
    sagas.c.saga_id,
    sagas.c.saga_type,
    sagas.c.state,
    sagas.c.version,
    sa.cast(sagas.c.first_failure, sa.Text).label("first_failure"),
    sagas.c.cancel_reason,
    sagas.c.created_at,
    sagas.c.updated_at,
    sagas.c.ended_at,
    sagas.c.wake_at,
    WAITS_FOR,
)


async def list_sagas(
    store: DatabaseStore,
    *,
    state: str | None = None,
    saga_type: str | None = None,
    stuck_after: timedelta | None = None,
    limit: int = 50,
) -> list[SagaSummary]:
    """The newest sagas first, at most `limit` and 1000; with `stuck_after` the stuck ones."""
    async with store.reading() as connection:
        now = await store.now(connection)
        stuck = is_stuck(now, STUCK_AFTER if stuck_after is None else stuck_after)
        query = sa.select(*_SUMMARY, stuck.label("is_stuck"))
        if state is not None:
            query = query.where(*_is_in(state))
        if saga_type is not None:
            query = query.where(sagas.c.saga_type == saga_type)
        if stuck_after is not None:
            query = query.where(stuck)
        newest_first = query.order_by(sagas.c.created_at.desc(), sagas.c.saga_id)
        rows = await connection.execute(newest_first.limit(max(0, min(limit, MAX_LISTED))))
        return [_summary(values) for values in rows.mappings()]


def _is_in(state: str) -> list[sa.ColumnElement[bool]]:
    """The state, as a literal that the index of failed sagas can be chosen by."""
    is_open = [sagas.c.ended_at.is_(None)] if state in OPEN_STATES else []
    literal = sa.literal(state, literal_execute=state in set(SagaState))
    return [*is_open, sagas.c.state == literal]


async def open_sagas(
    store: DatabaseStore, *, page: int = 200
) -> AsyncIterator[tuple[str, Saga | None]]:
    """Every saga that has not ended, by id, the oldest first; None if this release cannot read
    it. It is asked page by page: what is started meanwhile may be among them."""
    place = sa.tuple_(sagas.c.created_at, sagas.c.saga_id)
    oldest_first = sa.select(*SAGA_COLUMNS).where(UNFINISHED)
    oldest_first = oldest_first.order_by(sagas.c.created_at, sagas.c.saga_id).limit(page)
    query = oldest_first
    while True:
        async with store.reading() as connection:
            rows = [SagaRow._make(row) for row in await connection.execute(query)]
        for row in rows:
            try:
                yield row.saga_id, saga_from(row)
            except StatementRejected:
                yield row.saga_id, None
        if len(rows) < page:
            return
        last = sa.tuple_(
            sa.literal(rows[-1].created_at, sagas.c.created_at.type),
            sa.literal(rows[-1].saga_id, sagas.c.saga_id.type),
        )
        query = oldest_first.where(place > last)


async def show_saga(store: DatabaseStore, saga_id: str) -> SagaView | None:
    """Everything about one saga, and its history from the beginning; None if unknown."""
    one = sa.select(*SAGA_COLUMNS).where(sagas.c.saga_id == saga_id)
    lines = sa.select(saga_history).where(saga_history.c.saga_id == saga_id)
    async with store.reading() as connection:
        row = (await connection.execute(one)).one_or_none()
        if row is None:
            return None
        saga = saga_from(SagaRow._make(row))
        # Not what was appended in between: state and history shall tell the same story.
        until_now = lines.where(saga_history.c.version <= saga.version)
        history = await connection.execute(until_now.order_by(saga_history.c.version))
        told = tuple(line_of(HistoryRow._make(line)) for line in history)
        return view_of(saga, told, await locks_of(connection, saga_id))


async def state_of(store: DatabaseStore, saga_id: str) -> str | None:
    """The saga's state; None if unknown."""
    query = sa.select(sagas.c.state).where(sagas.c.saga_id == saga_id)
    async with store.reading() as connection:
        state: str | None = await connection.scalar(query)
        return state


def _summary(values: sa.RowMapping) -> SagaSummary:
    failure = failure_view(failure_from(values["first_failure"]))
    return SagaSummary(**{**values, "first_failure": failure, "is_stuck": bool(values["is_stuck"])})
