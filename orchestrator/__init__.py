"""Countermand's orchestrator. Names are loaded when first used, so that importing is light."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.client import SagaClient
    from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep

__all__ = ["RetryPolicy", "SagaClient", "SagaOrchestrator", "SagaStep"]

_HOMES = {
    "RetryPolicy": "orchestrator.definition",
    "SagaClient": "orchestrator.client",
    "SagaOrchestrator": "orchestrator.definition",
    "SagaStep": "orchestrator.definition",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
