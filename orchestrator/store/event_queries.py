"""Reading choreographed sagas, for the command line. Nothing here changes one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.store.choreographies import choreographies, choreography_replays, saga_events
from orchestrator.store.database import DatabaseStore
from orchestrator.store.event_log import Standing, standings

MAX_LISTED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One event in the record."""

    event_id: str
    type: str
    service: str | None
    cause: str | None
    ends: str | None
    at: datetime
    times_seen: int
    body_bytes: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLine:
    """One event that somebody had sent again."""

    event_id: str
    at: datetime
    by: str
    reason: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known of one choreographed saga."""

    standing: Standing
    events: tuple[EventLine, ...]  # as they were recorded
    replays: tuple[ReplayLine, ...]


async def list_choreographies(
    store: DatabaseStore,
    *,
    state: str | None = None,
    saga_type: str | None = None,
    quiet_for: timedelta | None = None,
    limit: int = 50,
) -> list[Standing]:
    """The newest first; with `quiet_for` those that are open and silent for so long."""
    table = choreographies
    query = sa.select(table)
    if state is not None:
        query = query.where(table.c.state == state)
    if saga_type is not None:
        query = query.where(table.c.saga_type == saga_type)
    async with store.reading() as connection:
        if quiet_for is not None:
            until = await store.now(connection) - quiet_for
            query = query.where(table.c.ended_at.is_(None), table.c.last_event_at <= until)
        newest = query.order_by(table.c.started_at.desc(), table.c.saga_id)
        return standings(await connection.execute(newest.limit(max(0, min(limit, MAX_LISTED)))))


async def show_choreography(store: DatabaseStore, saga_id: str) -> Record | None:
    """Everything about one saga; None if no event of it was recorded."""
    one = sa.select(choreographies).where(choreographies.c.saga_id == saga_id)
    events = sa.select(saga_events).where(saga_events.c.saga_id == saga_id)
    replays = sa.select(choreography_replays).where(choreography_replays.c.saga_id == saga_id)
    async with store.reading() as connection:
        found = standings(await connection.execute(one))
        if not found:
            return None
        lines = await connection.execute(events.order_by(saga_events.c.id))
        asked = await connection.execute(replays.order_by(choreography_replays.c.id))
        return Record(
            standing=found[0],
            events=tuple(_event_line(row) for row in lines),
            replays=tuple(
                ReplayLine(
                    event_id=row.event_id,
                    at=row.at,
                    by=row.by,
                    reason=row.reason,
                    sent_at=row.sent_at,
                )
                for row in asked
            ),
        )


def _event_line(row: Any) -> EventLine:
    body = json.loads(row.body)
    return EventLine(
        event_id=row.event_id,
        type=row.type,
        service=row.service,
        cause=row.cause,
        ends=row.ends,
        at=row.at,
        times_seen=row.times_seen,
        body_bytes=len(row.body),
        data={key: value for key, value in body.items() if key != "saga_id"},
    )
