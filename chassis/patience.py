"""Connections that hang up on a server which holds the line and says nothing.

The server's own timeouts cannot help where it is not heard, and those of the kernel only where
nobody acknowledges: a proxy in between, or a server that is frozen, does that for ever.
"""

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult


class ImpatientConnection(psycopg.AsyncConnection[Any]):
    """Ends a wait that is too long as if the server had closed the connection."""

    patience: float | None = 10.0  # seconds for an answer; None: waits for ever

    async def wait(self, *arguments: Any, **named: Any) -> Any:
        with self._impatiently():
            return await super().wait(*arguments, **named)

    async def answers(self) -> Sequence[PGresult]:
        """To what was sent past the driver's cursors, over its `pgconn`; at least one.

        Raises psycopg.Error, also for a statement that failed: those after it are not executed.
        Who is cancelled here must give the connection up: the answers may still come.
        """
        with self._impatiently():
            results = await self._results()
        if results[-1].status == ExecStatus.FATAL_ERROR:
            raise error_from_result(results[-1], encoding=self.info.encoding)
        return results

    async def _results(self) -> list[PGresult]:
        server = self.pgconn
        results: list[PGresult] = []
        while server.flush():
            await self._readiness(to_write=True)
            server.consume_input()
        while True:
            while server.is_busy():
                await self._readiness()
                server.consume_input()
            result = server.get_result()
            if result is None:
                return results
            results.append(result)

    async def _readiness(self, *, to_write: bool = False) -> None:
        """Until there is something to read, or room for what is left to write."""
        loop, descriptor = asyncio.get_running_loop(), self.pgconn.socket
        ready = loop.create_future()
        loop.add_reader(descriptor, _tell, ready)
        if to_write:
            loop.add_writer(descriptor, _tell, ready)
        try:
            await ready
        finally:
            loop.remove_reader(descriptor)
            if to_write:
                loop.remove_writer(descriptor)

    @contextmanager
    def _impatiently(self) -> Iterator[None]:
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


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
