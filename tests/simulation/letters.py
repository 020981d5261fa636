"""The dlq worker's tables over the database in memory: what its SQL does, row by row.

The worker's own code (intake, recovery, operations) runs over these functions; they have the
names and the meaning of those in `dlq_worker.letters` and `dlq_worker.alerts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from dlq_worker.letter import DeadLetter
from dlq_worker.letters import WORKER, Seen
from dlq_worker.notices import alert_key_of
from dlq_worker.rows import StoredLetter
from dlq_worker.statuses import AlertStatus, Severity, Status
from tests.simulation.database import Database
from tests.simulation.store import SAGAS, SimulatedStore, StoreTransaction

LETTERS: Final = "dead_letters"
ALERTS: Final = "alerts"
ACTIONS: Final = "dead_letter_actions"

__all__ = ["WORKER", "Seen"]


@dataclass(frozen=True, slots=True)
class Row:
    stored: StoredLetter
    saga_version: int | None = None


@dataclass(frozen=True, slots=True)
class AlertRow:
    key: str
    letter_id: int
    severity: Severity
    status: AlertStatus
    times_raised: int = 1


async def keep(
    transaction: StoreTransaction, letter: DeadLetter, *, is_repeated: bool
) -> int | None:
    await transaction.reach("keeping a letter")
    rows, now = transaction.rows, transaction.now
    await rows.hold((LETTERS, letter.key))
    known: Row | None = rows.read(LETTERS, letter.key)
    if known is None:
        stored = _fresh(letter, _number(letter.key), now)
    else:
        before = known.stored
        is_new = before.letter.arrival != letter.arrival or (
            letter.arrival is None and not is_repeated
        )
        if not is_new:
            return None
        stored = replace(
            _fresh(letter, before.id, now),
            times_seen=before.times_seen + 1,
            first_seen=before.first_seen,
            alert_key=before.alert_key,
            replays=0 if letter.is_of_command else before.replays,
            last_replay_at=None if letter.is_of_command else before.last_replay_at,
        )
    rows.write(LETTERS, letter.key, Row(stored))
    await note(transaction, stored.id, "arrived" if known is None else "came again")
    return stored.id


async def note(
    transaction: StoreTransaction,
    letter_id: int,
    action: str,
    *,
    by: str = WORKER,
    reason: str | None = None,
) -> None:
    """The simulator reads no actions."""


async def due_letters(store: SimulatedStore, limit: int) -> Sequence[int]:
    await store.host.reach("due letters")
    store.database.check()
    now = store.database.now
    due = [row for row in rows_of(store.database) if _is_due(store.database, row, now)]
    due.sort(key=lambda row: (str(row.stored.next_replay_at), row.stored.id))
    return [row.stored.id for row in due[:limit]]


async def lock_due_letter(transaction: StoreTransaction, letter_id: int) -> StoredLetter | None:
    await transaction.reach("locking a letter")
    row = _by_id(transaction, letter_id)
    if row is None or not transaction.rows.holds_at_once((LETTERS, row.stored.letter.key)):
        return None
    is_due = _is_due(transaction.rows.database, row, transaction.now)
    return row.stored if is_due else None


async def lock_letter(transaction: StoreTransaction, letter_id: int) -> StoredLetter | None:
    row = _by_id(transaction, letter_id)
    if row is None:
        return None
    await transaction.reach("locking a letter")
    await transaction.rows.hold((LETTERS, row.stored.letter.key))
    row = _by_id(transaction, letter_id)
    return row.stored if row else None


async def look_at_saga(transaction: StoreTransaction, saga_id: str | None) -> Seen:
    saga = transaction.rows.read(SAGAS, saga_id) if saga_id else None
    return Seen(saga, saga.version) if saga else Seen()


async def look_around(transaction: StoreTransaction, letter: DeadLetter) -> Seen:
    return await look_at_saga(transaction, letter.saga_id)  # nobody is choreographed here


async def change(transaction: StoreTransaction, letter_id: int, **values: Any) -> None:
    row = _by_id(transaction, letter_id)
    assert row is not None
    version = values.pop("saga_version", row.saga_version)
    if "status" in values:
        values["status"] = Status(values["status"])
    changed = Row(replace(row.stored, **values), version)
    transaction.rows.write(LETTERS, row.stored.letter.key, changed)


async def follow(
    transaction: StoreTransaction,
    letter_id: int,
    seen: Seen,
    *,
    status: Status,
    look_at: datetime | None,
) -> None:
    values = {"status": status, "next_replay_at": look_at, "saga_version": seen.version}
    await change(transaction, letter_id, **values)


async def close(
    transaction: StoreTransaction, letter_id: int, status: Status, *, by: str, reason: str
) -> None:
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


async def call_person(
    transaction: StoreTransaction, stored: StoredLetter, why: str, severity: Severity
) -> None:
    key = stored.alert_key or alert_key_of(stored.letter)
    rows = transaction.rows
    await rows.hold((ALERTS, key))
    known: AlertRow | None = rows.read(ALERTS, key)
    if known is None or known.status is AlertStatus.CLOSED:
        raised = 1 + (known.times_raised if known else 0)
        alert = AlertRow(key, stored.id, severity, AlertStatus.OPEN, raised)
        rows.write(ALERTS, key, alert)
    await change(transaction, stored.id, alert_key=key, status=Status.OPEN)


async def close_alert(transaction: StoreTransaction, key: str | None) -> None:
    if key is None:
        return
    rows = transaction.rows
    await rows.hold((ALERTS, key))
    known: AlertRow | None = rows.read(ALERTS, key)
    letters = _merged(transaction)
    if any(row.stored.alert_key == key and not row.stored.status.is_closed for row in letters):
        return
    if known is not None:
        rows.write(ALERTS, key, replace(known, status=AlertStatus.CLOSED))


def rows_of(database: Database) -> list[Row]:
    """All letters, as they are committed."""
    return list(database.table(LETTERS).values())


def alerts_of(database: Database) -> list[AlertRow]:
    return list(database.table(ALERTS).values())


def _fresh(letter: DeadLetter, number: int, now: datetime) -> StoredLetter:
    return StoredLetter(
        id=number,
        letter=letter,
        status=Status.OPEN,
        times_seen=1,
        first_seen=now,
        last_seen=now,
        replays=0,
        last_replay_at=None,
        next_replay_at=now,
        send_requested=False,
        alert_key=None,
        closed_at=None,
        closed_by=None,
        closed_reason=None,
    )


def _number(key: str) -> int:
    """Keys are digests: the number of a letter comes from its key."""
    return int(key[:12], 16) if not key.startswith("unreadable") else 0


def _is_due(database: Database, row: Row, now: datetime) -> bool:
    stored = row.stored
    if stored.status.is_closed:
        return False
    if stored.next_replay_at is not None and stored.next_replay_at <= now:
        return True
    saga = database.table(SAGAS).get(stored.letter.saga_id)
    return saga is not None and row.saga_version not in (None, saga.version)


def _by_id(transaction: StoreTransaction, letter_id: int) -> Row | None:
    return next((row for row in _merged(transaction) if row.stored.id == letter_id), None)


def _merged(transaction: StoreTransaction) -> list[Row]:
    """All letters, as this transaction sees them."""
    rows = transaction.rows
    return [rows.read(LETTERS, key) for key in rows.keys(LETTERS)]
