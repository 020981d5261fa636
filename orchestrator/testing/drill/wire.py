"""What a message of a drilled saga is about."""

import json
from dataclasses import dataclass
from enum import Enum, auto

from messaging.contract import Direction, Effect, ReplyType
from messaging.port import Outgoing
from orchestrator.testing.programs import NAMES


class MessageKind(Enum):
    START = auto()
    COMMAND = auto()
    REPLY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A start, or a step's command or reply. `step` is empty for a start."""

    kind: MessageKind
    step: str = ""
    direction: Direction | None = None
    attempt: int = 1
    reply: ReplyType | None = None
    error: str | None = None
    is_effect_unknown: bool = False


_UNDOING = {ReplyType.COMPENSATION_COMPLETED, ReplyType.COMPENSATION_FAILED}


def subject_of(message: Outgoing) -> Subject | None:
    """None for events and dead letters."""
    if message.exchange == NAMES.starts:
        return Subject(kind=MessageKind.START)
    if message.exchange == NAMES.commands:
        return Subject(
            kind=MessageKind.COMMAND,
            step=json.loads(message.body)["step_name"],
            direction=Direction(str(message.headers["saga-direction"])),
            attempt=int(message.headers.get("saga-attempt", 1)),
        )
    return _reply(message) if message.exchange == NAMES.replies else None


def _reply(message: Outgoing) -> Subject:
    body, kind = json.loads(message.body), ReplyType(message.type)
    return Subject(
        kind=MessageKind.REPLY,
        step=body["step_name"],
        direction=Direction.COMPENSATION if kind in _UNDOING else Direction.ACTION,
        attempt=int(message.headers.get("saga-attempt", 1)),
        reply=kind,
        error=body.get("error"),
        is_effect_unknown=body.get("effect") == Effect.UNKNOWN,
    )
