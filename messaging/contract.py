"""The messages that cross the network, as values. The standard library only."""

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from messaging.values import value

RESERVED_KEYS: Final = frozenset({"saga_id", "step_name", "original_result"})
SAGA_ID: Final = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
DESTINATION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}\.[A-Za-z][A-Za-z0-9_-]{0,99}")

MAX_BODY_BYTES: Final = 256 * 1024
MAX_RESULT_BYTES: Final = 64 * 1024
MAX_DATA_BYTES: Final = 1024 * 1024
MAX_ERROR_BYTES: Final = 4 * 1024
MAX_DEPTH: Final = 32

EPOCH_HEADER: Final = "saga-database-epoch"

# Fixed for ever: command ids must not change between releases.
_COMMAND_NAMESPACE: Final = uuid.UUID("5a9ac0de-0000-5000-8000-c0de5a9a0001").bytes


class Direction(StrEnum):
    ACTION = "action"
    COMPENSATION = "compensation"


class Effect(StrEnum):
    """What a failed step left behind."""

    NONE = "none"
    UNKNOWN = "unknown"


class ReplyType(StrEnum):
    STEP_COMPLETED = "SagaStepCompleted"
    STEP_FAILED = "SagaStepFailed"
    COMPENSATION_COMPLETED = "SagaCompensationCompleted"
    COMPENSATION_FAILED = "SagaCompensationFailed"


class StartType(StrEnum):
    START = "StartSaga"
    CANCEL = "CancelSaga"


@value
class Command:
    """What the orchestrator asks of a participant."""

    saga_id: str
    saga_type: str
    step_name: str
    direction: Direction
    destination: str  # "InventoryService.ReserveItems"
    command_id: str  # the idempotency key: the same for every attempt and redelivery
    attempt: int  # 1 or more
    deadline: datetime | None = None  # advisory
    data: Mapping[str, Any]  # without the reserved keys
    original_result: Mapping[str, Any] | None = None  # compensations only; None if not known
    traceparent: str | None = None
    epoch: str | None = None  # of the orchestrator's database; opaque

    @property
    def participant(self) -> str:
        return self.destination.partition(".")[0]

    @property
    def name(self) -> str:
        """The command's name within its participant: `ReserveItems`."""
        return self.destination.partition(".")[2]


@value
class Reply:
    """What a participant answers."""

    type: ReplyType
    saga_id: str
    step_name: str
    result: Mapping[str, Any] | None = None
    error: str | None = None
    retryable: bool | None = None  # None: not said; then no for actions, yes for compensations
    effect: Effect = Effect.NONE
    command_id: str | None = None
    attempt: int | None = None  # None: the answer to the current attempt
    traceparent: str | None = None
    # Of the command by which the participant first heard of the step and, after a space, of the
    # one that is answered, if that is another; None: not said.
    epoch: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    saga_type: str
    saga_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    saga_id: str
    reason: str


def command_id_for(saga_id: str, step_name: str, direction: Direction) -> str:
    """The idempotency key of a step in one direction, computed, never drawn: a UUID version 5.

    RFC 9562 §5.5; without the objects around it that `uuid.uuid5` makes.
    """
    name = f"{saga_id}|{step_name}|{direction}".encode()
    digest = hashlib.sha1(_COMMAND_NAMESPACE + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def participant_of(destination: str) -> str:
    """The participant that executes `destination`: the part before the first dot."""
    return destination.partition(".")[0]
