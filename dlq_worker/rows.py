"""Dead letters as rows of their table, and back. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from dlq_worker.letter import DeadLetter, Origin, Place
from dlq_worker.statuses import Status
from dlq_worker.tables import dead_letters
from messaging.contract import Direction

LETTER_COLUMNS: Final = tuple(
    sa.cast(column, sa.Text).label(column.name)
    if column.name in {"headers", "properties"}
    else column
    for column in dead_letters.c
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLetter:
    """A dead letter, and how far the worker has got with it."""

    id: int
    letter: DeadLetter
    status: Status
    times_seen: int
    first_seen: datetime
    last_seen: datetime
    replays: int
    last_replay_at: datetime | None
    next_replay_at: datetime | None
    send_requested: bool
    alert_key: str | None
    closed_at: datetime | None
    closed_by: str | None
    closed_reason: str | None


def values_of(letter: DeadLetter) -> dict[str, Any]:
    """What the letter says, by column."""
    return {
        "key": letter.key,
        "arrival": letter.arrival,
        "origin": letter.origin.value,
        "place": letter.place.value,
        "queue": letter.queue,
        "reason": letter.reason,
        "signature": letter.signature,
        "saga_id": letter.saga_id,
        "saga_type": letter.saga_type,
        "step_name": letter.step_name,
        "direction": letter.direction.value if letter.direction else None,
        "destination": letter.destination,
        "attempt": letter.attempt,
        "error": letter.error,
        "routing_key": letter.routing_key,
        "type": letter.type,
        "message_id": letter.message_id,
        "headers": json.dumps(letter.headers),
        "properties": json.dumps(letter.properties),
        "body": letter.body,
        "body_bytes": letter.body_bytes,
    }


def stored_letter(row: Mapping[str, Any]) -> StoredLetter:
    """The letter of a row that was selected with LETTER_COLUMNS."""
    return StoredLetter(
        id=row["id"],
        letter=_letter(row),
        status=Status(row["status"]),
        times_seen=row["times_seen"],
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        replays=row["replays"],
        last_replay_at=row["last_replay_at"],
        next_replay_at=row["next_replay_at"],
        send_requested=row["send_requested"],
        alert_key=row["alert_key"],
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
        closed_reason=row["closed_reason"],
    )


def _letter(row: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        key=row["key"],
        arrival=row["arrival"],
        origin=Origin(row["origin"]),
        place=Place(row["place"]),
        queue=row["queue"],
        reason=row["reason"],
        signature=row["signature"],
        saga_id=row["saga_id"],
        saga_type=row["saga_type"],
        step_name=row["step_name"],
        direction=Direction(row["direction"]) if row["direction"] else None,
        destination=row["destination"],
        attempt=row["attempt"],
        error=row["error"],
        routing_key=row["routing_key"],
        type=row["type"],
        message_id=row["message_id"],
        headers=json.loads(row["headers"]),
        properties=json.loads(row["properties"]),
        body=row["body"],
        body_bytes=row["body_bytes"],
    )
