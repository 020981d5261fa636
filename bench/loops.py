"""An event loop as fast as this environment has one."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

try:
    import uvloop as fastest
except ImportError:  # an extra
    fastest = asyncio  # type: ignore[assignment]

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=fastest.new_event_loop) as runner:
        return runner.run(work)
