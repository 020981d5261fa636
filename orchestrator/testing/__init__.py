"""What saga authors test with: a scenario language over the rules, and all programs in one process.

    from orchestrator.testing import EmbeddedSagas, given

`given` runs a saga through the real rules, on a clock of its own, without any I/O: what a
definition does about each reply, failure and timeout. `EmbeddedSagas` runs the orchestrator
and participants, scripted or your own, on the embedded broker and SQLite. Names are loaded
when first used, so that scenarios load no database. Nothing in production imports this.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.testing.embedded import EmbeddedSagas
    from orchestrator.testing.failures import ScenarioFailed
    from orchestrator.testing.scenario import Scenario, given
    from orchestrator.testing.scripted import Call, ScriptedParticipant

__all__ = [
    "Call",
    "EmbeddedSagas",
    "Scenario",
    "ScenarioFailed",
    "ScriptedParticipant",
    "given",
]

_HOMES = {
    "Call": "orchestrator.testing.scripted",
    "EmbeddedSagas": "orchestrator.testing.embedded",
    "Scenario": "orchestrator.testing.scenario",
    "ScenarioFailed": "orchestrator.testing.failures",
    "ScriptedParticipant": "orchestrator.testing.scripted",
    "given": "orchestrator.testing.scenario",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
