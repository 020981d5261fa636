"""The participant SDK: services that execute a saga's commands, or react to one another's
events, each effect once.

Light on purpose: no SQL, no broker. `participants.runner` runs participants in a program of
yours, and `participants.replies` gives answers that were put off.
"""

from messaging.errors import DefinitionError, NotFound
from messaging.events import SagaContext
from participants.choreography.definition import Choreography
from participants.choreography.reactions import Emit, EventContext
from participants.context import Context
from participants.outcome import StepFailed
from participants.participant import Participant

__all__ = [
    "Choreography",
    "Context",
    "DefinitionError",
    "Emit",
    "EventContext",
    "NotFound",
    "Participant",
    "SagaContext",
    "StepFailed",
]
