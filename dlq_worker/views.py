"""What people and scripts are shown of dead letters, as frozen values with stable JSON forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dlq_worker.rows import StoredLetter


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    id: int
    status: str
    severity: str
    title: str
    summary: str
    times_sent: int
    created_at: datetime
    last_sent_at: datetime | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "severity": self.severity,
            "title": self.title,
            "summary": self.summary,
            "times_sent": self.times_sent,
            "created_at": self.created_at.isoformat(),
            "last_sent_at": _moment(self.last_sent_at),
            "acknowledged_by": self.acknowledged_by,
            "acknowledged_at": _moment(self.acknowledged_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionView:
    """Something that was done about a letter."""

    at: datetime
    action: str
    by: str
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "action": self.action,
            "by": self.by,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterView:
    """One dead letter, without its body. `to_json` has the keys of `saga dlq list`."""

    stored: StoredLetter
    alert: AlertView | None

    @property
    def id(self) -> int:
        return self.stored.id

    def to_json(self) -> dict[str, Any]:
        stored, letter = self.stored, self.stored.letter
        return {
            "id": stored.id,
            "reason": letter.reason,
            "saga_id": letter.saga_id,
            "saga_type": letter.saga_type,
            "step_name": letter.step_name,
            "direction": letter.direction.value if letter.direction else None,
            "destination": letter.destination,
            "queue": letter.queue,
            "error": letter.error,
            "signature": letter.signature,
            "status": stored.status.value,
            "replays": stored.replays,
            "next_replay_at": _moment(stored.next_replay_at),
            "times_seen": stored.times_seen,
            "first_seen": stored.first_seen.isoformat(),
            "last_seen": stored.last_seen.isoformat(),
            "closed_at": _moment(stored.closed_at),
            "closed_by": stored.closed_by,
            "closed_reason": stored.closed_reason,
            "alert": self.alert.to_json() if self.alert else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterDetails:
    """All there is to know of one dead letter."""

    view: LetterView
    actions: tuple[ActionView, ...]

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.view.stored.letter.headers

    @property
    def body(self) -> str:
        """What was kept of the body, as text; bytes that are no UTF-8 are escaped."""
        return self.view.stored.letter.body.decode(errors="backslashreplace")

    def to_json(self) -> dict[str, Any]:
        letter = self.view.stored.letter
        return {
            **self.view.to_json(),
            "routing_key": letter.routing_key,
            "attempt": letter.attempt,
            "headers": dict(letter.headers),
            "properties": dict(letter.properties),
            "body": self.body,
            "body_bytes": letter.body_bytes,
            "actions": [action.to_json() for action in self.actions],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """Open letters of one signature: a thousand failures of one cause are one line."""

    signature: str
    reason: str
    letters: int
    sagas: int
    first_seen: datetime
    last_seen: datetime
    example_id: int  # the latest of them

    def to_json(self) -> dict[str, Any]:
        return {
            "signature": self.signature,
            "reason": self.reason,
            "letters": self.letters,
            "sagas": self.sagas,
            "first_seen": self.first_seen.isoformat(),
            "last_seen": self.last_seen.isoformat(),
            "example_id": self.example_id,
        }


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
