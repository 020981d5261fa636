"""Reads what participants remember, from their inboxes, some at a time. Changes nothing."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from chassis.urls import masked
from messaging.contract import Effect, ReplyType
from messaging.errors import ConfigurationError
from orchestrator.reconcile.findings import Memory
from participants.guard import State
from participants.sql_engine import engine_for, is_sqlite, reading
from participants.sql_errors import translated
from participants.sql_table import saga_inbox

_AT_A_TIME: Final = 1000
_KEY: Final = sa.tuple_(saga_inbox.c.saga_id, saga_inbox.c.step_name)


async def memories_in(url: str, since: timedelta) -> AsyncIterator[Sequence[Memory]]:
    """The steps that have changed for so long, in order. Raises Unavailable."""
    async with _inbox(url) as engine:
        last: tuple[str, str] | None = None
        while rows := await _read(engine, since, last):
            yield [_memory(row) for row in rows]
            last = (rows[-1].saga_id, rows[-1].step_name)


@asynccontextmanager
async def _inbox(url: str) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(url, 1)
    if is_sqlite(engine):
        _refuse_missing(url, engine.url.database)
    try:
        yield reading(engine)
    finally:
        await engine.dispose()


def _refuse_missing(url: str, file: str | None) -> None:
    """To open a file that is not there would make one."""
    if not (file and Path(file).exists()):
        raise ConfigurationError(f"there is no inbox {masked(url)!r}; name another one in --inbox")


async def _read(
    engine: AsyncEngine, since: timedelta, last: tuple[str, str] | None
) -> Sequence[sa.Row[Any]]:
    with translated():
        async with engine.connect() as connection:
            now = (await connection.execute(sa.select(sa.func.now()))).scalar_one()
            query = sa.select(saga_inbox).where(saga_inbox.c.updated_at >= now - since)
            if last is not None:
                query = query.where(sa.tuple_(*map(sa.literal, last)) < _KEY)
            ordered = query.order_by(saga_inbox.c.saga_id, saga_inbox.c.step_name)
            return (await connection.execute(ordered.limit(_AT_A_TIME))).all()


def _memory(row: sa.Row[Any]) -> Memory:
    reply = row.action_reply or {}
    failed = reply.get("type") == ReplyType.STEP_FAILED
    is_definite = failed and reply.get("effect", Effect.NONE) == Effect.NONE
    return Memory(
        saga_id=row.saga_id,
        step=row.step_name,
        state=State(row.state),
        changed_at=_with_zone(row.updated_at),
        is_definite_failure=is_definite,
    )


def _with_zone(moment: datetime) -> datetime:
    """SQLite tells UTC without saying so."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
