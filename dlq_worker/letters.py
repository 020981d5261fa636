"""Dead letters in the database: every statement on them runs in a transaction of the store."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from dlq_worker.letter import DeadLetter, Origin
from dlq_worker.rows import LETTER_COLUMNS, StoredLetter, stored_letter, values_of
from dlq_worker.statuses import Status
from dlq_worker.tables import IS_UNCLOSED, dead_letter_actions, dead_letters
from orchestrator.saga.state import Saga
from orchestrator.store import event_log
from orchestrator.store.choreographies import choreographies
from orchestrator.store.database import SAGA_COLUMNS, DatabaseStore, DatabaseTransaction
from orchestrator.store.errors import StatementRejected
from orchestrator.store.event_log import Standing
from orchestrator.store.rows import SagaRow, saga_from
from orchestrator.store.tables import Moment, sagas

WORKER: Final = "dlq worker"

_IS_OF_CHOREOGRAPHY: Final = dead_letters.c.origin == sa.literal_column(f"'{Origin.QUIET}'")
_HAS_MOVED: Final = sa.exists().where(
    sagas.c.saga_id == dead_letters.c.saga_id,
    sagas.c.version != dead_letters.c.saga_version,  # never so if it is NULL
    ~_IS_OF_CHOREOGRAPHY,
)
_HAS_GONE_ON: Final = sa.exists().where(
    choreographies.c.saga_id == dead_letters.c.saga_id,
    choreographies.c.events != dead_letters.c.saga_version,
    _IS_OF_CHOREOGRAPHY,
)
_IS_DUE: Final = IS_UNCLOSED & (
    (dead_letters.c.next_replay_at <= sa.bindparam("now", type_=Moment)) | _HAS_MOVED | _HAS_GONE_ON
)
_JSON_COLUMNS: Final = ("headers", "properties")


@dataclass(frozen=True, slots=True)
class Seen:
    """A saga at one moment."""

    saga: Saga | None = None  # None: unknown, or its row cannot be read
    version: int = -1  # -1: unknown; once it appears, it has moved
    choreographed: Standing | None = None  # of letters about a saga that has gone quiet


async def keep(
    transaction: DatabaseTransaction, letter: DeadLetter, *, is_repeated: bool
) -> int | None:
    """Store the letter, or reopen the one with its key: its number.

    None if this very arrival is known; `is_repeated` tells so where it has no identity.
    """
    values = {**values_of(letter), "now": transaction.now, "is_repeated": is_repeated}
    statement = _KEEP_COMMAND if letter.is_of_command else _KEEP_MESSAGE
    row = (await transaction.execute(statement, values)).one_or_none()
    if row is None:
        return None
    action = "arrived" if row.times_seen == 1 else "came again"
    await note(transaction, row.id, action, reason=letter.error)
    return int(row.id)


async def note(
    transaction: DatabaseTransaction,
    letter_id: int,
    action: str,
    *,
    by: str = WORKER,
    reason: str | None = None,
) -> None:
    """Append to what was done about a letter."""
    values = {
        "letter_id": letter_id,
        "at": transaction.now,
        "action": action,
        "by": by,
        "reason": reason,
    }
    await transaction.execute(sa.insert(dead_letter_actions).values(values))


async def due_letters(store: DatabaseStore, limit: int) -> Sequence[int]:
    """Numbers of letters to look at: their time has come, or their saga has moved."""
    order = (dead_letters.c.next_replay_at, dead_letters.c.id)
    query = sa.select(dead_letters.c.id).where(_IS_DUE).order_by(*order).limit(limit)
    async with store.reading() as connection:
        return list(await connection.scalars(query, {"now": await store.now(connection)}))


async def lock_due_letter(transaction: DatabaseTransaction, letter_id: int) -> StoredLetter | None:
    """The letter, locked, if it is still due and nobody else has it."""
    query = sa.select(*LETTER_COLUMNS).where(dead_letters.c.id == letter_id, _IS_DUE)
    locked = query.with_for_update(skip_locked=True)
    row = (await transaction.execute(locked, {"now": transaction.now})).mappings().one_or_none()
    return stored_letter(dict(row)) if row else None


async def lock_letter(transaction: DatabaseTransaction, letter_id: int) -> StoredLetter | None:
    """The letter, locked until the transaction ends; None if unknown."""
    query = sa.select(*LETTER_COLUMNS).where(dead_letters.c.id == letter_id).with_for_update()
    row = (await transaction.execute(query)).mappings().one_or_none()
    return stored_letter(dict(row)) if row else None


async def look_at_saga(transaction: DatabaseTransaction, saga_id: str | None) -> Seen:
    """The saga as it is committed now."""
    if saga_id is None:
        return Seen()
    query = sa.select(*SAGA_COLUMNS).where(sagas.c.saga_id == saga_id)
    row = (await transaction.execute(query)).one_or_none()
    if row is None:
        return Seen()
    with suppress(StatementRejected):
        return Seen(saga_from(SagaRow._make(row)), row.version)
    return Seen(None, row.version)


async def look_around(transaction: DatabaseTransaction, letter: DeadLetter) -> Seen:
    """Whatever the letter is about, as it is committed now."""
    if letter.origin is not Origin.QUIET or letter.saga_id is None:
        return await look_at_saga(transaction, letter.saga_id)
    standing = await event_log.look_at(transaction, letter.saga_id)
    if standing is None:
        return Seen()
    return Seen(version=standing.events, choreographed=standing)


async def change(transaction: DatabaseTransaction, letter_id: int, **values: Any) -> None:
    """Set columns of a letter that this transaction has locked."""
    where = dead_letters.c.id == letter_id
    await transaction.execute(sa.update(dead_letters).where(where).values(values))


async def follow(
    transaction: DatabaseTransaction,
    letter_id: int,
    seen: Seen,
    *,
    status: Status,
    look_at: datetime | None,
) -> None:
    """Look again at `look_at`, and as soon as the saga is no longer as it was seen."""
    values = {"status": status, "next_replay_at": look_at, "saga_version": seen.version}
    await change(transaction, letter_id, **values)


async def close(
    transaction: DatabaseTransaction, letter_id: int, status: Status, *, by: str, reason: str
) -> None:
    """Close a locked letter, with its line among the actions."""
    await change(
        transaction,
        letter_id,
        status=status,
        next_replay_at=None,
        saga_version=None,
        send_requested=False,
        closed_at=transaction.now,
        closed_by=by,
        closed_reason=reason,
    )
    await note(transaction, letter_id, status.value, by=by, reason=reason)


async def open_by_reason(store: DatabaseStore) -> Mapping[str, int]:
    """How many letters are not closed."""
    query = sa.select(dead_letters.c.reason, sa.func.count()).where(IS_UNCLOSED)
    async with store.reading() as connection:
        rows = (await connection.execute(query.group_by(dead_letters.c.reason))).all()
        return {row[0]: row[1] for row in rows}


def _new_value(column: str) -> sa.ColumnElement[Any]:
    """JSON travels as text, whatever the database makes of it."""
    if column in _JSON_COLUMNS:
        return sa.cast(sa.bindparam(column, type_=sa.Text), dead_letters.c[column].type)
    return sa.bindparam(column, type_=dead_letters.c[column].type)


def _keep_statement(*, counts_anew: bool) -> sa.Executable:
    """Insert, or reopen. `counts_anew`: whoever tried in between begins a new count."""
    now = sa.bindparam("now", type_=dead_letters.c.last_seen.type)
    said = {field.name: _new_value(field.name) for field in fields(DeadLetter)}
    progress = {"status": Status.OPEN.value, "next_replay_at": now, "last_seen": now}
    fresh: dict[str, Any] = {
        "times_seen": 1,
        "first_seen": now,
        "replays": 0,
        "send_requested": False,
    }
    statement = postgresql.insert(dead_letters).values({**said, **progress, **fresh})
    new = statement.excluded
    again: dict[str, Any] = {
        **{name: new[name] for name in said if name != "key"},
        **progress,
        "times_seen": dead_letters.c.times_seen + 1,
        "send_requested": False,
        "saga_version": None,
        "closed_at": None,
        "closed_by": None,
        "closed_reason": None,
    }
    if counts_anew:
        again |= {"replays": 0, "last_replay_at": None}
    is_repeated = sa.bindparam("is_repeated", type_=sa.Boolean)
    is_new = dead_letters.c.arrival.is_distinct_from(new.arrival) | (
        new.arrival.is_(None) & sa.not_(is_repeated)
    )
    kept = statement.on_conflict_do_update(index_elements=["key"], set_=again, where=is_new)
    return kept.returning(dead_letters.c.id, dead_letters.c.times_seen)


_KEEP_COMMAND: Final = _keep_statement(counts_anew=True)
_KEEP_MESSAGE: Final = _keep_statement(counts_anew=False)
