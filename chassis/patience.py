"""Connections that hang up on a server which holds the line and says nothing.

The server's own timeouts cannot help where it is not heard, and those of the kernel only where
nobody acknowledges: a proxy in between, or a server that is frozen, does that for ever.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg


class ImpatientConnection(psycopg.AsyncConnection[Any]):
    """Ends a wait that is too long as if the server had closed the connection."""

    patience: float | None = 10.0  # seconds for an answer; None: waits for ever

    async def wait(self, *arguments: Any, **named: Any) -> Any:
        with self.impatiently():
            return await super().wait(*arguments, **named)

    @contextmanager
    def impatiently(self) -> Iterator[None]:
        """Whatever waits here for the server waits no longer than that."""
        if self.patience is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(self.patience, self._hang_up)
        try:
            yield
        finally:
            timer.cancel()

    def _hang_up(self) -> None:
        """Not `close`: whoever waits has to be told by an error of the connection."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
