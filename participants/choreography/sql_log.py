"""The log of events in Postgres or SQLite: one table, in the transaction of the handler's SQL."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from messaging.port import Outgoing
from messaging.topology import Names
from participants.choreography.log import EventClaim, Line, Owed, Place
from participants.choreography.rules import Entry, Kind, State
from participants.choreography.sql_log_table import create_missing, saga_log
from participants.sql_engine import is_sqlite, reading
from participants.sql_errors import as_unavailable, translated
from participants.sql_inbox import PURGED_AT_A_TIME, SqlInbox
from participants.sql_session import HandlerSession

_OF_SAGA: Final = (
    select(
        saga_log.c.event_id,
        saga_log.c.event,
        saga_log.c.kind,
        saga_log.c.state,
        saga_log.c.undoes,
        saga_log.c.result,
        saga_log.c.emitted,
    )
    .where(saga_log.c.service == bindparam("service"), saga_log.c.saga_id == bindparam("saga_id"))
    .order_by(saga_log.c.id)
)
# One saga in one service at a time. Two that share a number only wait for each other.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 1517889292))")


class SqlEventLog:
    """Lines in `saga_log`, beside the inbox in one database."""

    prepare = staticmethod(create_missing)

    def __init__(self, inbox: SqlInbox, names: Names) -> None:
        self._inbox = inbox
        self._engine = inbox.engine
        self._names = names

    @asynccontextmanager
    async def claim(self, service: str, saga_id: str) -> AsyncIterator[EventClaim]:
        with as_unavailable():
            async with self._inbox.gate(), self._engine.connect() as connection:
                with translated():
                    entries = await self._locked_entries(connection, service, saga_id)
                claim = _SqlEventClaim(connection, service, entries)
                try:
                    yield claim
                    await claim.finish()
                finally:
                    await claim.close()

    async def mark_published(self, places: Sequence[Place]) -> None:
        if not places:
            return
        key = tuple_(saga_log.c.service, saga_log.c.saga_id, saga_log.c.event_id)
        paid = update(saga_log).where(key.in_(sorted(places))).values(owed_at=None)
        with translated():
            async with self._inbox.gate(), self._engine.begin() as connection:
                await connection.execute(paid)

    async def owed(self, service: str, older_than: timedelta, limit: int) -> Sequence[Owed]:
        with translated():
            async with reading(self._engine).connect() as connection:
                now = (await connection.execute(select(func.now()))).scalar_one()
                query = (
                    select(saga_log.c.saga_id, saga_log.c.event_id, saga_log.c.emitted)
                    .where(saga_log.c.service == service, saga_log.c.owed_at <= now - older_than)
                    .order_by(saga_log.c.owed_at)
                    .limit(limit)
                )
                rows = (await connection.execute(query)).all()
        return [
            Owed(
                place=Place(service, row.saga_id, row.event_id),
                messages=self._restored(row.saga_id, row.emitted),
            )
            for row in rows
        ]

    async def purge(self, older_than: timedelta) -> int:
        return await self._inbox.purge_by(partial(_purge_some, older_than=older_than))

    async def _locked_entries(
        self, connection: AsyncConnection, service: str, saga_id: str
    ) -> list[Entry]:
        if not is_sqlite(self._engine):
            await connection.execute(_LOCK, {"name": f"{service} {saga_id}"})
        rows = await connection.execute(_OF_SAGA, {"service": service, "saga_id": saga_id})
        return [
            Entry(
                event_id=row.event_id,
                event=row.event,
                kind=Kind(row.kind),
                state=State(row.state),
                undoes=row.undoes,
                result=row.result,
                emitted=self._restored(saga_id, row.emitted),
            )
            for row in rows
        ]

    def _restored(self, saga_id: str, stored: str | None) -> tuple[Outgoing, ...]:
        """The very bytes that were stored: a deploy cannot change what an id stands for."""
        return tuple(
            Outgoing(
                exchange=self._names.events,
                routing_key=each["type"],
                type=each["type"],
                body=each["body"].encode(),
                correlation_id=saga_id,
                headers=each["headers"],
                mandatory=False,
            )
            for each in json.loads(stored or "[]")
        )


class _SqlEventClaim:
    """A locked saga and the transaction that holds it."""

    def __init__(self, connection: AsyncConnection, service: str, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self._connection = connection
        self._service = service
        self._session = HandlerSession(connection)
        self._saved: Line | None = None

    def session(self) -> AsyncSession:
        return self._session.get()

    async def save(self, line: Line) -> None:
        self._saved = line

    async def finish(self) -> None:
        """Commit effects and line together, or undo both."""
        line = self._saved
        if line is None:
            await self._connection.rollback()
            return
        await self._session.commit()
        with translated():
            if line.undone:
                await self._connection.execute(self._undoing(line))
            await self._connection.execute(insert(saga_log).values(self._row(line)))
        await self._connection.commit()

    async def close(self) -> None:
        await self._session.close()

    def _undoing(self, line: Line) -> Any:
        return (
            update(saga_log)
            .where(
                saga_log.c.service == self._service,
                saga_log.c.saga_id == line.event.saga_id,
                saga_log.c.event_id.in_(line.undone),
            )
            .values(state=State.UNDONE.value, updated_at=func.now())
        )

    def _row(self, line: Line) -> Mapping[str, Any]:
        entry, event = line.entry, line.event
        return {
            "service": self._service,
            "saga_id": event.saga_id,
            "event_id": entry.event_id,
            "event": entry.event,
            "saga_type": event.saga.saga_type,
            "emitted_by": event.service,
            "cause": event.saga.cause,
            "kind": entry.kind.value,
            "state": entry.state.value,
            "undoes": entry.undoes,
            "result": None if entry.result is None else dict(entry.result),
            "payload": line.payload,
            "emitted": _stored(entry.emitted),
            "owed_at": func.now() if entry.emitted else None,
        }


async def _purge_some(connection: AsyncConnection, older_than: timedelta) -> int:
    now = (await connection.execute(select(func.now()))).scalar_one()
    old = (
        select(saga_log.c.id)
        .where(saga_log.c.updated_at <= now - older_than, saga_log.c.owed_at.is_(None))
        .order_by(saga_log.c.updated_at)
        .limit(PURGED_AT_A_TIME)
        .with_for_update(skip_locked=True)
    )
    return (await connection.execute(delete(saga_log).where(saga_log.c.id.in_(old)))).rowcount


def _stored(messages: Sequence[Outgoing]) -> str | None:
    if not messages:
        return None
    kept = [
        {"type": each.type, "body": each.body.decode(), "headers": dict(each.headers)}
        for each in messages
    ]
    return json.dumps(kept, ensure_ascii=False)
