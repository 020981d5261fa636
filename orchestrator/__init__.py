"""Countermand's orchestrator. Names are loaded when first used, so that importing is light."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.client import SagaClient
    from orchestrator.definition import LockPolicy, RetryPolicy, SagaOrchestrator, SagaStep
    from orchestrator.starting import start_in, start_in_async

__all__ = [
    "LockPolicy",
    "RetryPolicy",
    "SagaClient",
    "SagaOrchestrator",
    "SagaStep",
    "start_in",
    "start_in_async",
]

_HOMES = {
    "LockPolicy": "orchestrator.definition",
    "RetryPolicy": "orchestrator.definition",
    "SagaClient": "orchestrator.client",
    "SagaOrchestrator": "orchestrator.definition",
    "SagaStep": "orchestrator.definition",
    "start_in": "orchestrator.starting",
    "start_in_async": "orchestrator.starting",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
