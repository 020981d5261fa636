"""The participant SDK: services that execute a saga's commands, each effect once.

Light on purpose: no SQL, no broker. `participants.runner` runs participants in a program of
yours, and `participants.replies` gives answers that were put off.
"""

from messaging.errors import DefinitionError, NotFound
from participants.context import Context
from participants.outcome import StepFailed
from participants.participant import Participant

__all__ = ["Context", "DefinitionError", "NotFound", "Participant", "StepFailed"]
