"""Purging in the background: some rows, a pause, and so on until nothing old is left."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from chassis.facts import Noticed, Observe, Purged
from messaging.errors import SagaError
from orchestrator.store.errors import Busy
from orchestrator.store.purging import Purge

AT_A_TIME: Final = 500
_EVERY: Final = timedelta(minutes=10)
_PAUSES: Final = 4  # times as long as the work: a fifth of one connection's time
_SHORTEST: Final = 0.05


async def repeat_rounds(
    begin: Callable[[], Purge],
    stopping: asyncio.Event,
    observe: Observe,
    *,
    every: timedelta = _EVERY,
) -> None:
    """Purge now and again until `stopping` is set. Never raises because of the database: it
    has time, and what is wrong with the database others say better."""
    while not stopping.is_set():
        await _round(begin(), stopping, observe)
        await _rest(stopping, every.total_seconds())


async def _round(purge: Purge, stopping: asyncio.Event, observe: Observe) -> None:
    loop = asyncio.get_running_loop()
    began, limit, has_more = loop.time(), AT_A_TIME, True
    try:
        while has_more and not stopping.is_set():
            at = loop.time()
            try:
                has_more = await purge.some(limit)
            except Busy:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)  # too many for the time that a statement has
            if has_more:
                await _rest(stopping, max(_SHORTEST, _PAUSES * (loop.time() - at)))
    except SagaError as error:
        message = "what ended long ago could not be purged; it is tried again"
        observe(Noticed(level="warning", message=message, details={"error": str(error)}))
    took = timedelta(seconds=loop.time() - began)
    observe(Purged(deleted=dict(purge.deleted), lines=purge.lines, took=took))


async def _rest(stopping: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({waiting}, timeout=seconds)
    finally:
        waiting.cancel()
