"""A TCP proxy that fails on demand: it cuts, freezes, refuses and delays."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


class FaultProxy:
    """Stands between a client and the server at `host:port`. `port` of its own stays the same."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.latency = 0.0  # seconds, in each direction
        self.bytes_per_second: float | None = None  # in each direction of each connection
        self.accepted = 0  # connections so far
        self.targets = [(host, port)]  # the first that accepts a connection gets it
        self._server: asyncio.Server | None = None
        self._to_server, self._to_client = asyncio.Event(), asyncio.Event()
        self.thaw()
        self._marker: bytes | None = None
        self._cuts_left = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, direct: str) -> str:
        """`direct`, by way of this proxy."""
        parts = urlsplit(direct)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    async def accept(self) -> None:
        """Let connections in; after `refuse`, again on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Cut what there is and refuse new connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def freeze(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Move no byte, in old connections and new ones, and close none: half-open peers."""
        for direction, is_frozen in ((self._to_server, to_server), (self._to_client, to_client)):
            if is_frozen:
                direction.clear()

    def thaw(self) -> None:
        """Move on, with all that was held back."""
        self._to_server.set()
        self._to_client.set()

    def cut_after(self, marker: bytes, *, times: int) -> None:
        """Pass on what a client sends with `marker` in it, and then cut it off, so many times."""
        self._marker, self._cuts_left = marker, times

    @property
    def cuts_left(self) -> int:
        return self._cuts_left

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._to_server.wait()
                await self._connect(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await self._open()
        self._writers.add(upstream)
        pumps = [
            asyncio.create_task(self._pump(reader, upstream, self._to_server)),
            asyncio.create_task(self._pump(upstream_reader, writer, self._to_client)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(upstream)
            upstream.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for host, port in self.targets[:-1]:
            with suppress(OSError):
                return await asyncio.open_connection(host, port)
        return await asyncio.open_connection(*self.targets[-1])

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, open_way: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self._seconds_for(data))
                await open_way.wait()
                writer.write(data)
                await writer.drain()
                if open_way is self._to_server and self._is_to_be_cut(data):
                    return

    def _seconds_for(self, data: bytes) -> float:
        transfer = len(data) / self.bytes_per_second if self.bytes_per_second else 0.0
        return self.latency + transfer

    def _is_to_be_cut(self, data: bytes) -> bool:
        if not self._cuts_left or self._marker is None or self._marker not in data:
            return False
        self._cuts_left -= 1
        return True
