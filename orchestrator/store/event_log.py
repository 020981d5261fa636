"""Recording events, and what follows from the record: who has gone quiet, what is sent again.

Every statement runs in a transaction of the store.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from messaging.events import Event
from orchestrator.store.choreographies import choreographies, choreography_replays, saga_events
from orchestrator.store.database import DatabaseStore, DatabaseTransaction

_AT_A_TIME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event as it came."""

    event: Event
    headers: Mapping[str, str | int]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a choreographed saga stands, as its row says."""

    saga_id: str
    saga_type: str
    state: str  # open, completed, failed
    events: int
    last_event: str
    last_service: str | None
    started_at: datetime
    last_event_at: datetime
    quiet_after: timedelta
    quiet_at: datetime | None
    quiet_since: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """An event that somebody asked to have sent again."""

    id: int
    saga_id: str
    type: str
    headers: Mapping[str, str | int]
    body: bytes


async def record(transaction: DatabaseTransaction, heard: Heard, quiet_after: timedelta) -> bool:
    """Write an event down; False if it was known. `quiet_after` is for sagas that say nothing."""
    event = heard.event
    insert = postgresql.insert(saga_events).values(
        saga_id=event.saga_id,
        event_id=event.event_id,
        type=event.type,
        service=event.service,
        cause=event.saga.cause,
        ends=event.ends.value if event.ends else None,
        headers=_json(dict(heard.headers)),
        body=heard.body,
        at=transaction.now,
        times_seen=1,
    )
    kept = insert.on_conflict_do_update(
        index_elements=["saga_id", "event_id"],
        set_={"times_seen": saga_events.c.times_seen + 1},
    ).returning(saga_events.c.times_seen)
    is_new = bool((await transaction.execute(kept)).scalar_one() == 1)
    if is_new:
        await transaction.execute(_standing_after(event, transaction.now, quiet_after))
    return is_new


async def quiet_ones(store: DatabaseStore) -> Sequence[Standing]:
    """Sagas of which somebody has to be told."""
    async with store.reading() as connection:
        now = await store.now(connection)
        due = choreographies.c.quiet_at <= now
        query = sa.select(choreographies).where(due).order_by(choreographies.c.quiet_at)
        return standings(await connection.execute(query.limit(_AT_A_TIME)))


async def note_told(store: DatabaseStore, told: Sequence[Standing]) -> None:
    """Somebody has been told, unless an event has come since."""
    async with store.transaction() as transaction:
        for each in told:
            still = (choreographies.c.saga_id == each.saga_id) & (
                choreographies.c.events == each.events
            )
            values = {"quiet_at": None, "quiet_since": each.last_event_at}
            await transaction.execute(sa.update(choreographies).where(still).values(values))


async def ask_for_replay(
    transaction: DatabaseTransaction,
    saga_id: str,
    event_ids: Sequence[str],
    *,
    by: str,
    reason: str,
) -> None:
    """Have these events sent again; from now on the saga has its time once more."""
    for event_id in event_ids:
        row = {"saga_id": saga_id, "event_id": event_id, "at": transaction.now}
        values = {**row, "by": by, "reason": reason}
        await transaction.execute(sa.insert(choreography_replays).values(values))
    this = choreographies.c.saga_id == saga_id
    found = await transaction.execute(sa.select(choreographies.c.quiet_after).where(this))
    quiet_at = transaction.now + timedelta(seconds=found.scalar_one())
    is_open = this & choreographies.c.ended_at.is_(None)
    await transaction.execute(sa.update(choreographies).where(is_open).values(quiet_at=quiet_at))


async def last_events(transaction: DatabaseTransaction, saga_id: str) -> Sequence[str]:
    """Ids of the events that nothing has followed, of a saga that has not ended."""
    after = saga_events.alias()
    is_followed = sa.exists().where(
        after.c.saga_id == saga_id, after.c.cause == saga_events.c.event_id
    )
    is_open = sa.exists().where(
        choreographies.c.saga_id == saga_id, choreographies.c.ended_at.is_(None)
    )
    query = (
        sa.select(saga_events.c.event_id)
        .where(saga_events.c.saga_id == saga_id, ~is_followed, is_open)
        .order_by(saga_events.c.id)
    )
    return list((await transaction.execute(query)).scalars())


async def due_replays(store: DatabaseStore) -> Sequence[Replay]:
    """What is to be sent again, in the order in which it was asked for."""
    asked = choreography_replays
    columns = (
        asked.c.id,
        asked.c.saga_id,
        saga_events.c.type,
        sa.cast(saga_events.c.headers, sa.Text).label("headers"),
        saga_events.c.body,
    )
    is_same = (saga_events.c.saga_id == asked.c.saga_id) & (
        saga_events.c.event_id == asked.c.event_id
    )
    query = (
        sa.select(*columns)
        .select_from(asked.join(saga_events, is_same))
        .where(asked.c.sent_at.is_(None))
        .order_by(asked.c.id)
        .limit(_AT_A_TIME)
    )
    async with store.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [Replay(**{**row, "headers": json.loads(row["headers"])}) for row in rows]


async def note_sent(store: DatabaseStore, numbers: Sequence[int]) -> None:
    async with store.transaction() as transaction:
        these = choreography_replays.c.id.in_(numbers)
        sent = sa.update(choreography_replays).where(these).values(sent_at=transaction.now)
        await transaction.execute(sent)


async def count_open(store: DatabaseStore) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """By type: how many have not ended, and how many of these have gone quiet."""
    is_open = choreographies.c.ended_at.is_(None)
    async with store.reading() as connection:
        now = await store.now(connection)
        is_quiet = choreographies.c.quiet_at.is_(None) | (choreographies.c.quiet_at <= now)
        quiet = sa.func.sum(sa.case((is_quiet, 1), else_=0))
        query = sa.select(choreographies.c.saga_type, sa.func.count(), quiet).where(is_open)
        rows = (await connection.execute(query.group_by(choreographies.c.saga_type))).all()
    return {row[0]: int(row[1]) for row in rows}, {row[0]: int(row[2]) for row in rows if row[2]}


async def look_at(transaction: DatabaseTransaction, saga_id: str) -> Standing | None:
    """How one saga stands as it is committed now."""
    query = sa.select(choreographies).where(choreographies.c.saga_id == saga_id)
    found = standings(await transaction.execute(query))
    return found[0] if found else None


def standings(rows: Any) -> list[Standing]:
    """The rows of a query for all columns of `choreographies`."""
    return [
        Standing(
            saga_id=row.saga_id,
            saga_type=row.saga_type,
            state=row.state,
            events=row.events,
            last_event=row.last_event,
            last_service=row.last_service,
            started_at=row.started_at,
            last_event_at=row.last_event_at,
            quiet_after=timedelta(seconds=row.quiet_after),
            quiet_at=row.quiet_at,
            quiet_since=row.quiet_since,
            ended_at=row.ended_at,
        )
        for row in rows
    ]


def _standing_after(event: Event, now: datetime, quiet_after: timedelta) -> sa.Executable:
    """Insert the saga's row, or move it on. The first end counts."""
    saga, table = event.saga, choreographies
    quiet = saga.quiet_after or quiet_after
    ended = {"state": event.ends.value, "ended_at": now, "quiet_at": None} if event.ends else {}
    moved = {"last_event": event.type, "last_service": event.service, "last_event_at": now}
    fresh: dict[str, Any] = {
        "saga_id": event.saga_id,
        "saga_type": saga.saga_type,
        "correlation_id": saga.correlation_id,
        "state": "open",
        "events": 1,
        "started_at": saga.started_at or now,
        "quiet_after": int(quiet.total_seconds()),
        "quiet_at": now + quiet,
        **moved,
        **ended,
    }
    is_open = table.c.ended_at.is_(None)

    def while_open(column: str, value: Any) -> sa.ColumnElement[Any]:
        said = sa.literal(value, table.c[column].type)
        return sa.case((is_open, said), else_=table.c[column])

    closing = {name: while_open(name, value) for name, value in ended.items()}
    again = {
        "quiet_at": while_open("quiet_at", now + quiet),
        "quiet_after": int(quiet.total_seconds()),
        "quiet_since": None,
        "saga_type": sa.case((table.c.saga_type == "", saga.saga_type), else_=table.c.saga_type),
        "events": table.c.events + 1,
        **moved,
        **closing,
    }
    insert = postgresql.insert(table).values(fresh)
    return insert.on_conflict_do_update(index_elements=["saga_id"], set_=again)


def _json(value: Mapping[str, Any]) -> sa.ColumnElement[Any]:
    """JSON travels as text, whatever the database makes of it."""
    return sa.cast(sa.literal(json.dumps(value), sa.Text), saga_events.c.headers.type)
