"""Says when the event loop has stood still: a handler that blocks holds up all others."""

import asyncio
import logging
from typing import Final

_TICK: Final = 1.0
_NOTICED_AFTER: Final = 3.0  # seconds too late
_log = logging.getLogger(__name__)


async def watch_loop() -> None:
    """Runs until it is cancelled."""
    now = asyncio.get_running_loop().time
    while True:
        began = now()
        await asyncio.sleep(_TICK)
        late = now() - began - _TICK
        if late > _NOTICED_AFTER:
            _log.warning(
                "the event loop stood still for %.0f s, and everything with it: an `async def` "
                "that blocks? Make it a plain `def`, which runs in a thread; SIGUSR1 while it "
                "blocks writes where",
                late,
            )
