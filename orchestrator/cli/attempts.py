"""The attempts of a step, read from the saga's history. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.saga.state import Direction, StepStatus
from orchestrator.store.views import HistoryLine

_BACK: Final = {
    StepStatus.COMPENSATING,
    StepStatus.COMPENSATED,
    StepStatus.COMPENSATION_FAILED,
}
_UNDER_WAY: Final = {StepStatus.EXECUTING, StepStatus.COMPENSATING}
_SENT_AGAIN: Final = ("sent again", "timed out, sent again", "retried by hand")
_PAUSED: Final = {"failed", "timed out", "unroutable", "result too large"}
_WELL: Final = {StepStatus.COMPLETED, StepStatus.COMPENSATED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One command that was sent, and what came of it."""

    direction: Direction
    number: int
    began: datetime
    ended: datetime | None = None
    outcome: str | None = None  # None: it is under way
    error: str | None = None

    @property
    def took(self) -> timedelta | None:
        return self.ended - self.began if self.ended else None

    def to_json(self) -> dict[str, Any]:
        return {
            "direction": self.direction.value,
            "attempt": self.number,
            "began_at": self.began.isoformat(),
            "ended_at": self.ended.isoformat() if self.ended else None,
            "outcome": self.outcome,
            "error": self.error,
        }


def attempts_of(step: str, history: Iterable[HistoryLine]) -> tuple[Attempt, ...]:
    """In the order in which they were made."""
    found: list[Attempt] = []
    for line in history:
        if line.step != step or line.attempt is None:
            continue
        if is_sending(line):
            if found and found[-1].ended is None:
                found[-1] = _ended(found[-1], line, "timed out")
            found.append(Attempt(direction=_direction(line), number=line.attempt, began=line.at))
        elif found and found[-1].ended is None and _is_ending(line):
            found[-1] = _ended(found[-1], line, _outcome(line))
    return tuple(found)


def is_sending(line: HistoryLine) -> bool:
    """A command leaves; the error that the line still carries is that of the attempt before."""
    if line.after not in _UNDER_WAY:
        return False
    return line.before != line.after or (line.note or "").startswith(_SENT_AGAIN)


def _is_ending(line: HistoryLine) -> bool:
    """Left for good, or until the next attempt; what was only noted ends nothing."""
    return line.before in _UNDER_WAY and (line.after != line.before or line.note in _PAUSED)


def _direction(line: HistoryLine) -> Direction:
    return Direction.COMPENSATION if line.after in _BACK else Direction.ACTION


def _outcome(line: HistoryLine) -> str:
    return line.after if line.after in _WELL else line.note or "failed"


def _ended(attempt: Attempt, line: HistoryLine, outcome: str) -> Attempt:
    error = None if outcome in _WELL else line.error
    return replace(attempt, ended=line.at, outcome=outcome, error=error)
