"""The participant SDK: services that execute a saga's commands, or react to one another's
events, each effect once.

Light on purpose: no SQL, no broker. `participants.runner` runs participants in a program of
yours, and `participants.replies` gives answers that were put off.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from messaging.errors import DefinitionError, NotFound
from messaging.events import SagaContext
from participants.choreography.definition import Choreography
from participants.choreography.reactions import Emit, EventContext
from participants.context import Context
from participants.outcome import StepFailed
from participants.participant import Participant

if TYPE_CHECKING:
    from participants.idempotent import IdempotentStep, StepBusy, idempotent_step

__all__ = [
    "Choreography",
    "Context",
    "DefinitionError",
    "Emit",
    "EventContext",
    "IdempotentStep",
    "NotFound",
    "Participant",
    "SagaContext",
    "StepBusy",
    "StepFailed",
    "idempotent_step",
]

_OF_SQL = frozenset({"IdempotentStep", "StepBusy", "idempotent_step"})


def __getattr__(name: str) -> Any:
    if name in _OF_SQL:
        return getattr(import_module("participants.idempotent"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
