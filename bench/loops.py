"""An event loop as the daemons have it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from chassis.lifecycle import loop_factory

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)
