"""A proxy that knows PostgreSQL's protocol: it cuts a connection when a COMMIT has passed."""

import asyncio
import struct
from collections.abc import Callable, Iterator
from typing import Final

from tests.faults.proxy import FaultProxy

_QUERY: Final = ord("Q")
_PARSE: Final = ord("P")
_HEADER: Final = 5  # the type, and the length, which counts itself
_STARTUP_HEADER: Final = 4
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_GSS_REQUEST: Final = struct.pack("!ii", 8, 80877104)


class FrontendStream:
    """What a client sends, cut into messages. Knows only what is needed to find a COMMIT."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has_begun = False

    def feed(self, data: bytes) -> bool:
        """Whether a COMMIT has been completed by these bytes."""
        self._buffer += data
        commits = [_is_commit(message) for message in self._messages()]
        return any(commits)

    def _messages(self) -> Iterator[bytes]:
        while length := self._length_of_next():
            message = bytes(self._buffer[:length])
            del self._buffer[:length]
            if self._has_begun:
                yield message
            elif message not in (_SSL_REQUEST, _GSS_REQUEST):
                self._has_begun = True

    def _length_of_next(self) -> int:
        """0 while it is not complete."""
        header = _HEADER if self._has_begun else _STARTUP_HEADER
        if len(self._buffer) < header:
            return 0
        [length] = struct.unpack_from("!i", self._buffer, header - 4)
        whole = int(length) + header - 4
        return whole if len(self._buffer) >= whole else 0


class CommitCutter(FaultProxy):
    """Lets COMMITs through to the server and, as `should_cut` says, never their answers.

    The server has committed by then; the client sees a lost connection and cannot know.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.cuts = 0
        self.should_cut: Callable[[], bool] = lambda: False

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = _Conversation(self, reader, writer)
        await super()._connect(conversation, conversation)  # type: ignore[arg-type]


class _Conversation:
    """One client's reader and writer in one, which breaks off at an answer to COMMIT."""

    def __init__(
        self, proxy: CommitCutter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.transport = writer.transport
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._stream = FrontendStream()
        self._is_cut = False

    async def read(self, limit: int) -> bytes:
        data = await self._reader.read(limit)
        if self._stream.feed(data) and self._proxy.should_cut():
            self._is_cut = True
        return data

    def write(self, answer: bytes) -> None:
        if not self._is_cut:
            self._writer.write(answer)
        elif not self.transport.is_closing():
            self._proxy.cuts += 1
            self.transport.abort()

    async def drain(self) -> None:
        await self._writer.drain()


def _is_commit(message: bytes) -> bool:
    """A simple query, or the text of an unnamed statement."""
    text = message[_HEADER:].lstrip(b"\x00")
    return message[0] in (_QUERY, _PARSE) and text.upper().startswith(b"COMMIT")
