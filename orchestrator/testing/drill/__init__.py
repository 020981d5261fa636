"""The drill: every fault at every step of an author's saga, judged by the services' own books.

    from orchestrator.testing.drill import Drill

An author writes a Drill beside the tests; `saga drill MODULE` and `pytest --saga-drill MODULE`
run it. Names are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.testing.drill.definition import Drill, Obstacle, Scene

__all__ = ["Drill", "Obstacle", "Scene"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("orchestrator.testing.drill.definition"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
