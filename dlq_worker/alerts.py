"""Alerts as rows: raised once for each thing, sent in rounds until acknowledged or closed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from chassis.failpoints import Failpoint, reach
from dlq_worker.letter import DeadLetter
from dlq_worker.letters import change, note
from dlq_worker.notices import Notice, alert_key_of, commands_of, is_about_step, title_of
from dlq_worker.rows import StoredLetter
from dlq_worker.statuses import AlertStatus, Severity, Status
from dlq_worker.tables import IS_ALERTED, IS_UNCLOSED, alert_deliveries, alerts, dead_letters
from orchestrator.store.database import DatabaseStore, DatabaseTransaction

MAX_SIGNATURES: Final = 100  # alerts that are open for rejected messages, at most
OTHER_KEY: Final = "signature|others"
OTHER_TITLE: Final = "dead letters of many other causes"
_FULL_ROUND: Final = 200  # alerts that begin a round in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """One notice that one sink has to send."""

    id: int
    attempts: int
    notice: Notice


async def call_person(
    transaction: DatabaseTransaction, stored: StoredLetter, why: str, severity: Severity
) -> None:
    """Raise the letter's alert, unless it is open already. The letter is locked."""
    letter, now = stored.letter, transaction.now
    key = stored.alert_key or await _key_for(transaction, letter)
    values = {
        "letter_id": stored.id,
        "severity": severity.value,
        "title": OTHER_TITLE if key == OTHER_KEY else title_of(letter),
        "summary": why,
        "status": AlertStatus.OPEN.value,
        "next_send_at": now,
        "closed_at": None,
        "acknowledged_at": None,
        "acknowledged_by": None,
    }
    fresh = {"key": key, "created_at": now, "times_sent": 0}
    insert = postgresql.insert(alerts).values({**values, **fresh})
    is_closed = alerts.c.status == AlertStatus.CLOSED.value
    raised = insert.on_conflict_do_update(
        index_elements=["key"], set_={**values, "created_at": now}, where=is_closed
    ).returning(alerts.c.id)
    is_raised = (await transaction.execute(raised)).scalar_one_or_none() is not None
    is_news = is_raised or stored.alert_key != key
    await change(transaction, stored.id, alert_key=key, status=Status.OPEN.value)
    if is_news:
        await note(transaction, stored.id, "alerted", reason=why)


async def close_alert(transaction: DatabaseTransaction, key: str | None) -> None:
    """Close the alert if no letter under it is open; whoever was told is told of that, too."""
    if key is None:
        return
    # Locked first: two letters that close at the same time must see one another.
    locked = sa.select(alerts.c.id).where(alerts.c.key == key).with_for_update()
    await transaction.execute(locked)
    open_letters = sa.select(sa.func.count()).where(dead_letters.c.alert_key == key, IS_UNCLOSED)
    if (await transaction.execute(open_letters)).scalar_one():
        return
    closing = (
        sa.update(alerts)
        .where(alerts.c.key == key, alerts.c.status != AlertStatus.CLOSED.value)
        .values(
            status=AlertStatus.CLOSED.value,
            closed_at=transaction.now,
            next_send_at=sa.case((alerts.c.times_sent > 0, transaction.now), else_=None),
        )
    )
    await transaction.execute(closing)


async def begin_rounds(store: DatabaseStore, sinks: Collection[str], repeat: timedelta) -> bool:
    """Begin a round for every alert that is due; True if there may be more."""
    if not await _is_any(store, alerts.c.next_send_at):
        return False
    async with store.transaction() as transaction:
        due = (
            sa.select(alerts.c.id, alerts.c.status, alerts.c.times_sent)
            .where(alerts.c.next_send_at <= transaction.now)
            .order_by(alerts.c.next_send_at)
            .limit(_FULL_ROUND)
            .with_for_update(skip_locked=True)
        )
        rows = (await transaction.execute(due)).all()
        for row in rows:
            is_resolved = row.status == AlertStatus.CLOSED.value
            told = await _told(transaction, row.id) if is_resolved else sinks
            await _add_deliveries(transaction, row, told, is_resolved=is_resolved)
            again = None if is_resolved else transaction.now + repeat
            sent = {"times_sent": row.times_sent + 1, "last_sent_at": transaction.now}
            update = sa.update(alerts).where(alerts.c.id == row.id)
            await transaction.execute(update.values(**sent, next_send_at=again))
        await reach(Failpoint.DLQ_ROUND_BEFORE_COMMIT)
    await reach(Failpoint.DLQ_ROUND_AFTER_COMMIT)
    return len(rows) == _FULL_ROUND


async def take_due_deliveries(
    store: DatabaseStore, sink: str, *, limit: int, lease: timedelta, console_url: str | None
) -> Sequence[DueDelivery]:
    """What this sink has to send now. Nobody else takes them for `lease`."""
    if not await _is_any(store, alert_deliveries.c.due_at, alert_deliveries.c.sink == sink):
        return []
    async with store.transaction() as transaction:
        now = transaction.now
        rows = (await transaction.execute(_due(sink, now, limit))).mappings().all()
        taken = [row["delivery_id"] for row in rows]
        leased = sa.update(alert_deliveries).where(alert_deliveries.c.id.in_(taken))
        if taken:
            await transaction.execute(leased.values(due_at=now + lease))
    return [_due_delivery(dict(row), now, console_url) for row in rows]


async def settle_delivery(
    store: DatabaseStore, delivery: DueDelivery, *, error: str | None, retry: timedelta
) -> None:
    """Sent, or (with `error`) to be tried again after `retry`."""
    async with store.transaction() as transaction:
        now = transaction.now
        is_sent = error is None
        update = sa.update(alert_deliveries).where(alert_deliveries.c.id == delivery.id)
        await transaction.execute(
            update.values(
                ok=is_sent,
                attempts=delivery.attempts + 1,
                sent_at=now if is_sent else None,
                due_at=None if is_sent else now + retry,
                error=error,
            )
        )


async def count_interventions(store: DatabaseStore) -> int:
    """Alerts that need a person, acknowledged or not."""
    query = sa.select(sa.func.count()).where(
        IS_ALERTED,
        alerts.c.severity == Severity.CRITICAL.value,
    )
    async with store.reading() as connection:
        return int(await connection.scalar(query) or 0)


async def _key_for(transaction: DatabaseTransaction, letter: DeadLetter) -> str:
    """Its own key, or that of all others when a flood of garbage has too many signatures."""
    key = alert_key_of(letter)
    if is_about_step(key):
        return key
    open_ones = sa.select(alerts.c.key).where(
        IS_ALERTED, alerts.c.severity == Severity.WARNING.value
    )
    keys = set((await transaction.execute(open_ones.limit(MAX_SIGNATURES + 1))).scalars())
    return key if key in keys or len(keys) < MAX_SIGNATURES else OTHER_KEY


async def _is_any(
    store: DatabaseStore, due_at: sa.Column[datetime], *conditions: sa.ColumnElement[bool]
) -> bool:
    """A look that locks nothing: most of the time nothing is due."""
    async with store.reading() as connection:
        now = await store.now(connection)
        query = sa.select(sa.literal(1)).where(due_at <= now, *conditions).limit(1)
        return await connection.scalar(query) is not None


async def _told(transaction: DatabaseTransaction, alert_id: int) -> Collection[str]:
    """The sinks that have sent this alert since it was last raised, or may have."""
    was_tried = (
        alert_deliveries.c.ok
        | (alert_deliveries.c.attempts > 0)
        | (alert_deliveries.c.due_at > transaction.now)  # at work at this moment
    )
    query = (
        sa.select(alert_deliveries.c.sink)
        .join(alerts, alerts.c.id == alert_deliveries.c.alert_id)
        .where(
            alert_deliveries.c.alert_id == alert_id,
            alert_deliveries.c.begun_at >= alerts.c.created_at,
            was_tried,
        )
        .distinct()
    )
    return set((await transaction.execute(query)).scalars())


async def _add_deliveries(
    transaction: DatabaseTransaction, alert: Any, sinks: Collection[str], *, is_resolved: bool
) -> None:
    """The deliveries of a new round. What is left of the last one is overtaken."""
    of_alert = alert_deliveries.c.alert_id == alert.id
    overtaken = sa.update(alert_deliveries).where(of_alert, alert_deliveries.c.due_at.is_not(None))
    await transaction.execute(overtaken.values(due_at=None))
    for sink in sorted(sinks):
        values = {
            "alert_id": alert.id,
            "round": alert.times_sent + 1,
            "sink": sink,
            "is_resolved": is_resolved,
            "ok": False,
            "attempts": 0,
            "begun_at": transaction.now,
            "due_at": transaction.now,
        }
        await transaction.execute(sa.insert(alert_deliveries).values(values))


def _due(sink: str, now: datetime, limit: int) -> sa.Select[Any]:
    letters = (
        sa.select(sa.func.count())
        .where(
            dead_letters.c.alert_key == alerts.c.key,
            IS_UNCLOSED,
        )
        .correlate(alerts)
        .scalar_subquery()
    )
    of_letter = (
        dead_letters.c.origin,
        dead_letters.c.reason,
        dead_letters.c.signature,
        dead_letters.c.saga_id,
        dead_letters.c.saga_type,
        dead_letters.c.step_name,
        dead_letters.c.error,
    )
    of_delivery = (
        alert_deliveries.c.id.label("delivery_id"),
        alert_deliveries.c.attempts,
        alert_deliveries.c.round,
        alert_deliveries.c.is_resolved,
    )
    return (
        sa.select(alerts, *of_letter, *of_delivery, letters.label("letters"))
        .select_from(alert_deliveries)
        .join(alerts, alerts.c.id == alert_deliveries.c.alert_id)
        .join(dead_letters, dead_letters.c.id == alerts.c.letter_id)
        .where(
            alert_deliveries.c.sink == sink,
            alert_deliveries.c.due_at <= now,
            alerts.c.status != AlertStatus.ACKNOWLEDGED.value,
        )
        .order_by(alert_deliveries.c.due_at, alert_deliveries.c.id)
        .limit(limit)
        .with_for_update(of=alert_deliveries, skip_locked=True)
    )


def _due_delivery(row: dict[str, Any], now: datetime, console_url: str | None) -> DueDelivery:
    letter_id = row["letter_id"]
    notice = Notice(
        alert_id=row["id"],
        key=row["key"],
        round=row["round"],
        is_resolved=row["is_resolved"],
        severity=Severity(row["severity"]),
        title=row["title"],
        summary=row["summary"],
        reason=row["reason"],
        signature=row["signature"],
        saga_id=row["saga_id"],
        saga_type=row["saga_type"],
        step_name=row["step_name"],
        error=row["error"],
        letter_id=letter_id,
        letters=row["letters"],
        created_at=row["created_at"],
        sent_at=now,
        closed_at=row["closed_at"],
        commands=commands_of(letter_id, row),
        link=f"{console_url.rstrip('/')}/dead-letters/{letter_id}" if console_url else None,
    )
    return DueDelivery(id=row["delivery_id"], attempts=row["attempts"], notice=notice)
