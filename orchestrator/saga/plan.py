"""The plan of one saga: its steps in stages, computed once at its start and then kept."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final


class OnTimeout(StrEnum):
    COMPENSATE = "compensate"
    RESEND = "resend"


class OnExhausted(StrEnum):
    """What becomes of the earlier compensations when one has exhausted its retries."""

    HALT = "halt"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after which pauses, a command is sent again after a failure.

    The pause before attempt n+1 is `initial` times `multiplier` to the power n-1, spread by a
    tenth either way with `jitter`, and at most `maximum`.
    """

    max_attempts: int = 5
    initial: timedelta = timedelta(seconds=2)
    maximum: timedelta = timedelta(minutes=5)
    multiplier: float = 2
    jitter: bool = True


ONCE: Final = RetryPolicy(max_attempts=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of the plan. Steps of the same `stage` run in parallel."""

    name: str
    stage: int  # 0, 1, … without gaps
    action: str
    compensation: str | None
    timeout: timedelta
    retry: RetryPolicy = ONCE
    compensation_retry: RetryPolicy = field(default_factory=RetryPolicy)
    on_timeout: OnTimeout = OnTimeout.COMPENSATE
    payload: tuple[str, ...] | None = None  # keys of the data to send; None means all
    pivot: bool = False
    locked: bool | None = None  # of the first step: True if the saga holds semantic locks
