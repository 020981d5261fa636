"""Failpoints: the boundaries at which a daemon of a test build can be killed, held or broken.

Off unless SAGA_FAILPOINTS names them and SAGA_TEST_BUILD=1 says that this is no production.
"""

import asyncio
import logging
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from messaging.errors import ConfigurationError

VARIABLE: Final = "SAGA_FAILPOINTS"
TEST_BUILD: Final = "SAGA_TEST_BUILD"
_LONGEST: Final = 3600.0
_TRAP: Final = re.compile(
    r"(?P<point>\w+)=(?P<action>[a-z]+)(:(?P<seconds>[0-9.]+))?(@(?P<passage>[0-9]+))?"
)
_log = logging.getLogger(__name__)


class Failpoint(StrEnum):
    """Every boundary between two of a daemon's lasting effects; CONTRIBUTING.md describes them."""

    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    AFTER_PUBLISH = "after_publish"
    BEFORE_ACK = "before_ack"
    TIMER_BEFORE_COMMIT = "timer_before_commit"
    TIMER_AFTER_COMMIT = "timer_after_commit"
    TIMER_AFTER_PUBLISH = "timer_after_publish"
    GUARD_AFTER_NOTE = "guard_after_note"
    GUARD_BEFORE_COMMIT = "guard_before_commit"
    GUARD_AFTER_COMMIT = "guard_after_commit"
    GUARD_BEFORE_BATCH_COMMIT = "guard_before_batch_commit"
    GUARD_AFTER_BATCH_COMMIT = "guard_after_batch_commit"
    PARTICIPANT_BEFORE_PUBLISH = "participant_before_publish"
    PARTICIPANT_BEFORE_ACK = "participant_before_ack"
    DLQ_INTAKE_BEFORE_COMMIT = "dlq_intake_before_commit"
    DLQ_INTAKE_AFTER_COMMIT = "dlq_intake_after_commit"
    DLQ_BEFORE_ACK = "dlq_before_ack"
    DLQ_LOOK_BEFORE_COMMIT = "dlq_look_before_commit"
    DLQ_LOOK_AFTER_COMMIT = "dlq_look_after_commit"
    DLQ_BEFORE_PUBLISH = "dlq_before_publish"
    DLQ_AFTER_PUBLISH = "dlq_after_publish"
    DLQ_AFTER_MARK = "dlq_after_mark"
    DLQ_ROUND_BEFORE_COMMIT = "dlq_round_before_commit"
    DLQ_ROUND_AFTER_COMMIT = "dlq_round_after_commit"
    DLQ_BEFORE_ALERT = "dlq_before_alert"
    DLQ_AFTER_ALERT = "dlq_after_alert"
    DLQ_AFTER_ALERT_MARK = "dlq_after_alert_mark"


class Action(StrEnum):
    KILL = "kill"  # SIGKILL to ourselves
    RAISE = "raise"  # a fault of ours: FailpointReached
    PAUSE = "pause"  # whoever comes by waits; the event loop goes on
    BLOCK = "block"  # the whole event loop stands still

    @property
    def lasts(self) -> bool:
        return self in {Action.PAUSE, Action.BLOCK}


class FailpointReached(Exception):
    """What `raise` raises: no error that anybody foresaw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """What happens at a failpoint: at its n-th passage, or at each."""

    point: Failpoint
    action: Action
    seconds: float = 0.0
    passage: int | None = None  # 1 or more; None: each

    def __str__(self) -> str:
        lasting = f":{self.seconds:g}" if self.action.lasts else ""
        passage = f"@{self.passage}" if self.passage else ""
        return f"{self.point}={self.action}{lasting}{passage}"


_traps: Final[list[Trap]] = []
_passages: Final[Counter[Failpoint]] = Counter()


async def reach(point: Failpoint) -> None:
    """Pass a boundary. Nothing happens unless a trap is armed there."""
    if _traps:
        await _pass(point)


def arm(variables: Mapping[str, str]) -> None:
    """Arm the traps that SAGA_FAILPOINTS asks for, instead of those armed before.

    Raises ConfigurationError if it makes no sense, and wherever SAGA_TEST_BUILD is not 1.
    """
    disarm()
    asked = variables.get(VARIABLE, "").strip()
    if not asked:
        return
    if variables.get(TEST_BUILD) != "1":
        raise ConfigurationError(
            f"{VARIABLE}={asked}: this would break a daemon on purpose; unset it, or, where"
            f" nothing but tests runs, set {TEST_BUILD}=1 as well"
        )
    traps = [_trap(word.strip()) for word in asked.split(",")]
    for trap in traps:
        _log.warning("FAILPOINT ARMED: %s; this daemon breaks on purpose", trap)
    _traps.extend(traps)


def disarm() -> None:
    """No traps, and nothing passed yet."""
    _traps.clear()
    _passages.clear()


def _trap(word: str) -> Trap:
    said = _TRAP.fullmatch(word)
    if said is None or said["point"] not in set(Failpoint):
        raise _refusal(word, f"the failpoints are {', '.join(Failpoint)}")
    if said["action"] not in set(Action):
        raise _refusal(word, f"the actions are {', '.join(Action)}")
    action, passage = Action(said["action"]), said["passage"]
    if action.lasts is not (said["seconds"] is not None) or passage == "0":
        raise _refusal(word, "pause and block last so many seconds, and no other action does")
    return Trap(
        point=Failpoint(said["point"]),
        action=action,
        seconds=_seconds(word, said["seconds"] or "0"),
        passage=int(passage) if passage else None,
    )


def _seconds(word: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = _LONGEST + 1
    if seconds > _LONGEST:
        raise _refusal(word, f"at most {_LONGEST:g} seconds")
    return seconds


def _refusal(word: str, remedy: str) -> ConfigurationError:
    usage = "write POINT=kill, raise, pause:SECONDS or block:SECONDS, each with @PASSAGE or without"
    return ConfigurationError(f"{VARIABLE}: {word!r} cannot be armed; {usage}; {remedy}")


async def _pass(point: Failpoint) -> None:
    _passages[point] += 1
    passage = _passages[point]
    for trap in _traps:
        if trap.point is point and trap.passage in {None, passage}:
            _log.warning("FAILPOINT REACHED: %s at passage %d", trap, passage)
            await _spring(trap)


async def _spring(trap: Trap) -> None:
    match trap.action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.RAISE:
            raise FailpointReached(str(trap))
        case Action.PAUSE:
            await asyncio.sleep(trap.seconds)
        case Action.BLOCK:
            time.sleep(trap.seconds)  # noqa: ASYNC251  # that is what it is for
        case _:
            assert_never(trap.action)
