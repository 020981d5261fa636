"""What the worker does next about a letter: its verdict, how often it was tried, and the time.

Pure. `recovery` performs it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from dlq_worker.rows import StoredLetter
from dlq_worker.statuses import Severity, Status
from dlq_worker.triage import (
    AnswerForParticipant,
    CallPerson,
    Keep,
    Recover,
    SendAgain,
    SendLater,
    Superseded,
    Verdict,
    Wait,
    has_moved,
)
from messaging.contract import Reply
from orchestrator.saga.state import Saga

MOST_ANSWERS: Final = 3
MOST_SENDS: Final = 3
_MOST_DOUBLINGS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPolicy:
    """Replay after `base`, doubled each time, `limit` times; then call a person."""

    limit: int = 5
    base: timedelta = timedelta(seconds=10)
    maximum: timedelta = timedelta(hours=1)

    def pause(self, replays: int) -> timedelta:
        """The pause before the next replay, or before a person is called."""
        doublings = min(replays, max(self.limit - 1, 0), _MOST_DOUBLINGS)
        return min(self.base * (1 << doublings), self.maximum)


@dataclass(frozen=True, slots=True)
class Replay:
    """Publish the compensation command again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Publish a reply on behalf of the participant."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Repeat:
    """Publish the message again to where it came from."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """At `at`, if that is set, and as soon as the saga moves."""

    at: datetime | None
    status: Status


@dataclass(frozen=True, slots=True)
class Alert:
    """Call a person."""

    why: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Close:
    status: Status
    why: str


Plan = Replay | Answer | Repeat | LookAgain | Alert | Close


def plan(
    stored: StoredLetter, verdict: Verdict, saga: Saga | None, policy: ReplayPolicy, now: datetime
) -> Plan:
    """The next thing to do about the letter."""
    if stored.send_requested:
        return Repeat()
    match verdict:
        case Recover():
            return _recovery(stored, policy, now)
        case AnswerForParticipant():
            return _answering(stored, verdict.reply, policy, now)
        case SendAgain() | SendLater():
            is_later = isinstance(verdict, SendLater)
            return _sending_later(stored, policy, now) if is_later else _sending(stored, saga)
        case CallPerson():
            return Alert(verdict.why, verdict.severity)
        case Keep():
            return Alert(verdict.why, Severity.WARNING)
        case Wait():
            return LookAgain(None, Status.REPLAYING)
        case Superseded():
            return _moved_on(stored, verdict.why)
        case _:
            assert_never(verdict)


def _recovery(stored: StoredLetter, policy: ReplayPolicy, now: datetime) -> Plan:
    is_left = stored.replays < policy.limit
    due = (stored.last_replay_at or stored.last_seen) + policy.pause(stored.replays)
    if now < due and policy.limit > 0:
        return LookAgain(due, Status.REPLAYING)
    if is_left:
        return Replay()
    times = "1 replay" if stored.replays == 1 else f"{stored.replays} replays"
    tried = times if stored.replays else "its retries"
    return Alert(f"the compensation still fails after {tried}", Severity.CRITICAL)


def _answering(stored: StoredLetter, reply: Reply, policy: ReplayPolicy, now: datetime) -> Plan:
    if stored.last_replay_at is not None and stored.replays:
        due = stored.last_replay_at + policy.pause(stored.replays - 1)
        if now < due:
            return LookAgain(due, Status.REPLAYING)
    if stored.replays < MOST_ANSWERS:
        return Answer(reply)
    return Alert("its saga still waits for a command that nobody took", Severity.CRITICAL)


def _sending(stored: StoredLetter, saga: Saga | None) -> Plan:
    """It was sent, and has not come back (that reopens it): has the saga taken it?"""
    if stored.replays and stored.status is Status.REPLAYING:
        match has_moved(stored.letter, saga):
            case True:
                return Close(Status.RESOLVED, "sent again, and its saga has taken it")
            case None:
                return Close(Status.RESOLVED, "sent again; it reopens if it comes back")
            case False:
                return LookAgain(None, Status.REPLAYING)
    if stored.replays < MOST_SENDS:
        return Repeat()
    return Alert("it runs into the delivery limit again and again", Severity.CRITICAL)


def _sending_later(stored: StoredLetter, policy: ReplayPolicy, now: datetime) -> Plan:
    """It was sent, and has not come back (that reopens it): so its service has taken it."""
    if stored.replays and stored.status is Status.REPLAYING:
        return Close(Status.RESOLVED, "sent again; it reopens if it comes back")
    due = stored.last_seen + policy.pause(stored.replays)
    if stored.replays < policy.limit:
        return LookAgain(due, Status.OPEN) if now < due else Repeat()
    times = "1 replay" if stored.replays == 1 else f"{stored.replays} replays"
    still = f"still fails after {times}" if stored.replays else "fails"
    letter = stored.letter
    return Alert(f"{letter.participant}'s handler of {letter.type} {still}", Severity.CRITICAL)


def _moved_on(stored: StoredLetter, why: str) -> Plan:
    was_at_work = stored.status is Status.REPLAYING or stored.alert_key is not None
    return Close(Status.RESOLVED if was_at_work else Status.SUPERSEDED, why)
