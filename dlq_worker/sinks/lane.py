"""Blocking calls, one at a time, in a thread that can be left behind."""

import asyncio
import threading
from collections.abc import Callable

from dlq_worker.sinks.port import SinkFailed


class Lane:
    """Runs a sink's blocking calls.

    Its threads are daemons, and whoever waits can be cancelled: a receiver that hangs keeps
    neither the program from ending nor, beyond one thread, anything busy.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_busy = False

    async def run(self, call: Callable[[], None]) -> None:
        """Run `call` and return when it has; raises what it raises."""
        if self._is_busy:
            raise SinkFailed("the last notice is still being sent")
        self._is_busy = True
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def work() -> None:
            error: Exception | None = None
            try:
                call()
            except Exception as raised:  # handed to whoever waits
                error = raised
            self._is_busy = False
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, done, error)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        await done


def _settle(done: "asyncio.Future[None]", error: Exception | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
