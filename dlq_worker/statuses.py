"""The states of dead letters and of alerts."""

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Of a dead letter."""

    OPEN = "open"  # just arrived, or waiting for a person
    REPLAYING = "replaying"  # the worker is at it
    RESOLVED = "resolved"  # its saga has really moved, or a person says it is done
    DISCARDED = "discarded"  # a person says never mind
    SUPERSEDED = "superseded"  # when it was first looked at, its saga had already moved on

    @property
    def is_closed(self) -> bool:
        return self not in UNCLOSED


UNCLOSED: Final = frozenset({Status.OPEN, Status.REPLAYING})


class AlertStatus(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class Severity(StrEnum):
    CRITICAL = "critical"  # somebody has to act, or something stays half undone
    WARNING = "warning"  # somebody should look
