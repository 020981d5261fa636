"""Facts as log lines: one each, with the ids that one searches for, and never a payload."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

from chassis.facts import (
    BatchCommitted,
    BatchPublished,
    CommandHandled,
    ConnectionChanged,
    DeadLettered,
    EventHandled,
    EventRecorded,
    Fact,
    GaugeMeasured,
    LateReply,
    MessageRejected,
    Noticed,
    Purged,
    SagaAdvanced,
    StepMoved,
)
from chassis.rates import Passage, RateLimit

FIELDS: Final = "fields"  # of a log record: what it says beside its event
_NAME: Final = "saga"
_PER_SECOND: Final = 10
_GOOD_PER_SECOND: Final = 100  # lines of one kind about what goes as it should
_MAX_TEXT: Final = 500
_SAY_AGAIN: Final = 60.0  # seconds
_RETRIED: Final = "it is tried again until it works; `saga doctor` says what is wrong"
_TRACEBACK: Final = "exception"  # the console knows it by this name, and keeps its lines
_TROUBLE: Final = frozenset({"failed", "compensation_failed"})
_FORWARD: Final = frozenset({"started", "pending"})
_HARMLESS: Final = frozenset({"duplicate", "stale"})
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_NOTHING: Final = (None, "")
_OUR_KEYS: Final = frozenset({"event", "level", "logger", "timestamp", "exc_info", "stack"})


class FactLog:
    """A listener of facts that writes them to the log, floods of bad input in moderation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = logging.getLogger(_NAME)
        self._clock = clock
        self._lost: dict[ConnectionChanged, float] = {}  # when it was last written
        self._is_enabled_for = self._log.isEnabledFor  # cheap where it is silent
        self._limit = RateLimit(_PER_SECOND, clock)
        self._good_limit = RateLimit(_GOOD_PER_SECOND, clock)

    def __call__(self, fact: Fact) -> None:  # noqa: C901, PLR0912  # one case for each kind
        match fact:
            case SagaAdvanced():
                self._saga_advanced(fact)
            case LateReply():
                self._late_reply(fact)
            case MessageRejected():
                self._message_rejected(fact)
            case DeadLettered():
                self._dead_lettered(fact)
            case BatchCommitted():
                self._write(logging.DEBUG, "batch committed", size=fact.size)
            case BatchPublished():
                self._batch_published(fact)
            case CommandHandled():
                self._command_handled(fact)
            case EventHandled():
                self._event_handled(fact)
            case EventRecorded():
                self._event_recorded(fact)
            case Purged():
                self._purged(fact)
            case ConnectionChanged():
                self._connection_changed(fact)
            case GaugeMeasured():
                pass
            case Noticed():
                self._noticed(fact)
            case _:
                assert_never(fact)

    def _saga_advanced(self, fact: SagaAdvanced) -> None:
        """Troubles are all written; of what goes well, so many lines a second."""
        level = _level_of(fact)
        if not self._is_enabled_for(level):
            return
        event = "saga started" if fact.is_new else "saga advanced"
        if level >= logging.WARNING:
            self._write(level, event, **_said_of(fact))
        else:
            self._write_good(event, lambda: _said_of(fact), level)

    def _late_reply(self, fact: LateReply) -> None:
        self._write_limited(
            logging.INFO if fact.kind in _HARMLESS else logging.WARNING,
            "late reply",
            fact.kind,
            saga_id=fact.saga_id,
            saga_type=fact.saga_type,
            step=fact.step,
            kind=fact.kind,
        )

    def _message_rejected(self, fact: MessageRejected) -> None:
        self._write_limited(
            logging.WARNING,
            "message rejected",
            fact.reason,
            queue=fact.queue,
            reason=fact.reason,
            detail=fact.detail,
            message_id=fact.message_id,
            saga_id=fact.saga_id,
            **{_TRACEBACK: fact.traceback},
        )

    def _dead_lettered(self, fact: DeadLettered) -> None:
        self._write_limited(
            logging.WARNING,
            "dead letter",
            fact.reason,
            reason=fact.reason,
            saga_id=fact.saga_id,
            saga_type=fact.saga_type,
            step=fact.step,
            error=fact.error,
        )

    def _batch_published(self, fact: BatchPublished) -> None:
        has_trouble = fact.unroutable or fact.unknown
        self._write_limited(
            logging.WARNING if has_trouble else logging.DEBUG,
            "batch not fully published" if has_trouble else "batch published",
            "",
            size=fact.size,
            seconds=fact.took.total_seconds(),
            unroutable=fact.unroutable or None,
            unknown=fact.unknown or None,
        )

    def _command_handled(self, fact: CommandHandled) -> None:
        if fact.error:
            self._write(logging.WARNING, "command handled", **_said_of_command(fact))
        else:
            self._write_good("command handled", lambda: _said_of_command(fact))

    def _event_handled(self, fact: EventHandled) -> None:
        if fact.outcome == "refused" or fact.error:
            self._write(logging.WARNING, "event handled", **_said_of_event(fact))
        else:
            self._write_good("event handled", lambda: _said_of_event(fact))

    def _event_recorded(self, fact: EventRecorded) -> None:
        self._write(
            logging.DEBUG,
            "event recorded",
            saga_id=fact.saga_id,
            saga_type=fact.saga_type,
            event_type=fact.event,
            service=fact.service,
            ends=fact.ends,
        )

    def _purged(self, fact: Purged) -> None:
        self._write(
            logging.INFO if any(fact.deleted.values()) else logging.DEBUG,
            "purged what ended long ago",
            **{kind: count for kind, count in fact.deleted.items() if count},
            lines=fact.lines or None,
            seconds=fact.took.total_seconds(),
        )

    def _connection_changed(self, fact: ConnectionChanged) -> None:
        """Of connections that all find the same peer away, again and again, a line a minute."""
        if fact.up:
            self._lost.clear()
            self._write(logging.INFO, "connected", peer=fact.peer, detail=fact.detail)
        elif self._clock() - self._lost.get(fact, -math.inf) > _SAY_AGAIN:
            self._lost[fact] = self._clock()
            self._write(
                logging.WARNING,
                "connection lost",
                peer=fact.peer,
                detail=fact.detail,
                more=_RETRIED,
            )

    def _noticed(self, fact: Noticed) -> None:
        details = {f"{key}_" if key in _OUR_KEYS else key: v for key, v in fact.details.items()}
        self._write(_LEVELS.get(fact.level, logging.WARNING), fact.message, **details)

    def _write_good(
        self, event: str, fields: Callable[[], Mapping[str, Any]], level: int = logging.INFO
    ) -> None:
        """Of what goes well, so many lines a second."""
        self._write_of(self._good_limit, level, event, fields)

    def _write_limited(self, level: int, event: str, group: str, **fields: Any) -> None:
        """At most ten a second of one group; the next second says how many there were."""
        self._write_of(self._limit, level, event, lambda: fields, group)

    def _write_of(
        self,
        limit: RateLimit,
        level: int,
        event: str,
        fields: Callable[[], Mapping[str, Any]],
        group: str = "",
    ) -> None:
        if not self._is_enabled_for(level):
            return
        passage, suppressed = limit.admit(f"{event} {group}")
        if passage is Passage.NO:
            return
        more = "further ones are not written for a second" if passage is Passage.LAST else None
        self._write(level, event, **fields(), suppressed=suppressed or None, more=more)

    def _write(self, level: int, event: str, **fields: Any) -> None:
        if self._is_enabled_for(level):
            said = {key: _short(key, v) for key, v in fields.items() if v not in _NOTHING}
            record = logging.LogRecord(_NAME, level, "", 0, event, None, None)
            record.__dict__[FIELDS] = said
            self._log.handle(record)


def _level_of(fact: SagaAdvanced) -> int:
    """A saga's start, its end and all of its way back; each step forward is for whoever asks."""
    if fact.compensation_retries or any(_is_trouble(move) for move in fact.moves):
        return logging.WARNING
    is_midway = fact.state in _FORWARD and not fact.is_new
    return logging.DEBUG if is_midway else logging.INFO


def _is_trouble(move: StepMoved) -> bool:
    return bool(move.error) or move.after in _TROUBLE


def _said_of(fact: SagaAdvanced) -> Mapping[str, Any]:
    return {
        "saga_id": fact.saga_id,
        "saga_type": fact.saga_type,
        "state": fact.state,
        "step": ", ".join(dict.fromkeys(move.step for move in fact.moves if move.step)),
        "moves": "; ".join(_move(move) for move in fact.moves),
        "retries": ", ".join(fact.compensation_retries),
        "error": "; ".join(move.error for move in fact.moves if move.error),
        "seconds": None if fact.duration is None else fact.duration.total_seconds(),
    }


def _said_of_command(fact: CommandHandled) -> Mapping[str, Any]:
    return {
        "saga_id": fact.saga_id,
        "step": fact.step,
        "command": f"{fact.participant}.{fact.command}",
        "direction": fact.direction,
        "outcome": fact.outcome,
        "attempt": fact.attempt,
        "seconds": fact.took.total_seconds(),
        "error": fact.error,
        _TRACEBACK: fact.traceback,
    }


def _said_of_event(fact: EventHandled) -> Mapping[str, Any]:
    return {
        "saga_id": fact.saga_id,
        "saga_type": fact.saga_type,
        "service": fact.service,
        "event_type": fact.event,
        "outcome": fact.outcome,
        "emitted": ", ".join(fact.emitted),
        "seconds": fact.took.total_seconds(),
        "error": fact.error,
    }


def _move(move: StepMoved) -> str:
    words = f"{move.step or 'saga'}: {move.before} -> {move.after}"
    attempt = f"attempt {move.attempt}" if move.attempt and move.attempt > 1 else None
    remarks = ", ".join(filter(None, (attempt, move.note, move.actor and f"by {move.actor}")))
    return f"{words} ({remarks})" if remarks else words


def _short(key: str, value: object) -> object:
    if isinstance(value, str) and len(value) > _MAX_TEXT and key != _TRACEBACK:
        return f"{value[:_MAX_TEXT]}…"
    return value
