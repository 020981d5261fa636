"""What an alert tells a person: ids, counts, the error, how to go on. Never a saga's payload."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dlq_worker.letter import DeadLetter, Origin
from dlq_worker.statuses import Severity

_SAGA: Final = "saga|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One round of an alert, as a sink sends it."""

    alert_id: int
    key: str  # the same for every round, and when the alert comes back
    round: int
    is_resolved: bool
    severity: Severity
    title: str
    summary: str
    reason: str
    signature: str
    saga_id: str | None
    saga_type: str | None
    step_name: str | None
    error: str | None
    letter_id: int
    letters: int  # how many are open under this alert
    created_at: datetime
    sent_at: datetime
    closed_at: datetime | None
    commands: tuple[str, ...]  # to go on with
    link: str | None

    @property
    def id(self) -> str:
        """The same every time this very notice is sent: receivers can tell repetitions by it."""
        return f"{self.alert_id}-{self.round}"

    @property
    def is_about_step(self) -> bool:
        """About one step of a saga; else about many messages of one signature."""
        return is_about_step(self.key)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "alert_id": self.alert_id,
            "key": self.key,
            "status": "resolved" if self.is_resolved else "firing",
            "round": self.round,
            "severity": self.severity.value,
            "title": self.title,
            "summary": self.summary,
            "reason": self.reason,
            "signature": self.signature,
            "saga_id": self.saga_id,
            "saga_type": self.saga_type,
            "step_name": self.step_name,
            "error": self.error,
            "dead_letter_id": self.letter_id,
            "dead_letters_open": self.letters,
            "sent_at": self.sent_at.isoformat(),
            "created_at": self.created_at.isoformat(),
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
            "commands": list(self.commands),
            "link": self.link,
        }


def alert_key_of(letter: DeadLetter) -> str:
    """One alert for each step of a saga; for what was rejected, one for each signature."""
    about_saga = letter.origin not in {Origin.REJECTED, Origin.UNKNOWN} or letter.is_of_command
    if about_saga and letter.saga_id and letter.step_name:
        return f"{_SAGA}{letter.saga_id}|{letter.step_name}"
    return f"signature|{letter.signature}"


def is_about_step(key: str) -> bool:
    return key.startswith(_SAGA)


def title_of(letter: DeadLetter) -> str:
    """One line, without anything of the payload."""
    reason = letter.reason.replace("_", " ")
    if is_about_step(alert_key_of(letter)):
        saga = " ".join(filter(None, (letter.saga_type, letter.saga_id)))
        return f"{reason}: step {letter.step_name} of saga {saga}"
    return f"{reason}: dead letters from {letter.queue or letter.routing_key}"


def commands_of(letter_id: int, details: Mapping[str, Any]) -> tuple[str, ...]:
    """What can be typed to go on."""
    first = [f"saga dlq show {letter_id}"]
    if details["saga_id"]:
        kind = "saga choreography show" if details["origin"] == Origin.QUIET else "saga show"
        first.append(f"{kind} {details['saga_id']}")
    if details["origin"] in {Origin.COMPENSATION, Origin.FORWARD}:
        steps = [f"saga dlq retry {letter_id}", f"saga dlq resolve {letter_id} --reason …"]
    elif details["origin"] == Origin.LATE_SUCCESS:
        steps = [f"saga dlq resolve {letter_id} --reason …"]
    else:
        steps = [f"saga dlq retry {letter_id}", f"saga dlq discard {letter_id} --reason …"]
    return (*first, *steps)
