"""A tap on the library's connection: bulk goes straight to us, all the rest to the library.

The library opens, authenticates, tunes and closes the connection and its channels, and keeps
its heartbeats. Where it reads the socket, whole frames are told apart: deliveries, returns and
confirms of a channel that somebody listens to never reach it. It spends a task, several futures
and a socket write on each message; docs/adr/0013 has the measurements.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import aio_pika
from aiormq.exceptions import AMQPConnectionError

from messaging import wire

_HEARTBEAT_SECONDS: Final = 1.0  # how often the library is told that the broker lives
_PROTOCOL_HEADER: Final = b"A"  # of "AMQP": the broker's answer to an unknown protocol
_LIMIT: Final = 2**16  # asyncio's own, of a stream's buffer


class Listener(Protocol):
    """Takes a channel's messages and confirms. Called as they are read; must not raise."""

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None: ...

    def returned(self, header: bytes) -> None:
        """A message that no queue is bound for. Its confirm follows."""
        ...

    def confirmed(self, tag: int, *, multiple: bool, is_refused: bool) -> None: ...

    def pause(self) -> None:
        """All that one read of the socket brought has been handed over."""
        ...

    def closed(self) -> None:
        """Nothing comes any more, and nothing may be written: channel or connection ended."""
        ...


@dataclass(slots=True, eq=False)
class _Content:
    """A delivery or a return whose frames are still arriving."""

    method: bytes
    is_return: bool
    header: bytes = b""
    parts: list[bytes] = field(default_factory=list)  # of the body; to add them up is quadratic
    missing: int = -1  # bytes of the body; -1: the header has not come


class Tap(asyncio.StreamReaderProtocol):
    """The protocol of one connection: tells whole frames apart and hands them on."""

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self._clock = loop
        self._writer: asyncio.StreamWriter | None = None
        self._rest = b""
        self._is_raw = False
        self._last_passed = loop.time()
        self._listeners: dict[int, Listener] = {}
        self._contents: dict[int, _Content] = {}

    def listen(self, channel: int, listener: Listener) -> None:
        """Until the channel is closed, its messages and confirms go to `listener` alone."""
        self._listeners[channel] = listener

    def write(self, frames: bytes) -> None:
        """Send whole frames, at once and in order; lost if the connection is."""
        if self._writer and not self._writer.is_closing():
            self._writer.write(frames)

    async def drained(self) -> None:
        """Wait until the socket takes more. OSError if the connection is lost."""
        if self._writer:
            await self._writer.drain()

    def write_with(self, writer: asyncio.StreamWriter) -> None:
        """Share the library's writer: each write of either is made of whole frames."""
        self._writer = writer

    def connection_lost(self, exc: Exception | None) -> None:
        self._pass_on(self._rest)
        self._rest = b""
        for channel in list(self._listeners):
            self._close(channel)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_raw:
            self._pass_on(data)
            return
        buffer = self._rest + data if self._rest else data
        if buffer.startswith(_PROTOCOL_HEADER):
            self._is_raw, self._rest = True, b""
            self._pass_on(buffer)
            return
        self._rest = buffer[self._sort(buffer) :]
        for listener in list(self._listeners.values()):
            listener.pause()
        self._reassure()

    def _sort(self, buffer: bytes) -> int:
        """Hand on every whole frame of `buffer`. Where the last one ends."""
        at = passed = 0
        size = len(buffer)
        while at + wire.FRAME.size <= size:
            kind, channel, length = wire.FRAME.unpack_from(buffer, at)
            start = at + wire.FRAME.size
            end = start + length + len(wire.END)
            if end > size:
                break
            if channel in self._listeners and self._take(kind, channel, buffer[start : end - 1]):
                if passed < at:
                    self._pass_on(buffer[passed:at])
                passed = end
            at = end
        if passed < at:
            self._pass_on(buffer[passed:at])
        return at

    def _take(self, kind: int, channel: int, payload: bytes) -> bool:
        """True if the frame was for the channel's listener."""
        if kind == wire.METHOD:
            return self._take_method(channel, payload)
        content = self._contents.get(channel)
        if content is None:
            return False
        if kind == wire.HEADER:
            content.header, content.missing = payload, wire.body_size(payload)
        else:
            content.parts.append(payload)
            content.missing -= len(payload)
        if content.missing <= 0:
            del self._contents[channel]
            self._deliver(channel, content)
        return True

    def _take_method(self, channel: int, payload: bytes) -> bool:
        method = wire.METHOD_ID.unpack_from(payload)[0]
        if method in {wire.ACK, wire.NACK}:
            tag, multiple = wire.settlement(payload)
            is_refused = method == wire.NACK
            self._listeners[channel].confirmed(tag, multiple=multiple, is_refused=is_refused)
            return True
        if method in {wire.DELIVER, wire.RETURN}:
            self._contents[channel] = _Content(payload, is_return=method == wire.RETURN)
            return True
        if method in {wire.CHANNEL_CLOSE, wire.CHANNEL_CLOSE_OK}:
            self._close(channel)  # from the library's answer on any write would be an offence
        return False

    def _deliver(self, channel: int, content: _Content) -> None:
        listener = self._listeners[channel]
        if content.is_return:
            listener.returned(content.header)
        else:
            listener.delivered(content.method, content.header, b"".join(content.parts))

    def _close(self, channel: int) -> None:
        self._contents.pop(channel, None)
        self._listeners.pop(channel).closed()

    def _pass_on(self, data: bytes) -> None:
        if data:
            self._last_passed = self._clock.time()
            super().data_received(data)

    def _reassure(self) -> None:
        """The library takes a broker for dead of which it hears nothing: tell it otherwise."""
        if self._clock.time() - self._last_passed > _HEARTBEAT_SECONDS:
            self._pass_on(wire.HEARTBEAT)


class TapFactory:
    """Opens the library's socket as the library's own transport factories do, with a tap on it."""

    def __init__(self) -> None:
        self.tap: Tap | None = None

    async def create(
        self, url: Any, **arguments: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        provider = arguments.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LIMIT, loop=loop)
        tap = Tap(reader, loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: tap, str(url.host), int(url.port or 0), ssl=context, **arguments
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        writer = asyncio.StreamWriter(transport, tap, reader, loop)
        tap.write_with(writer)
        self.tap = tap
        return reader, writer


class TappedConnection(aio_pika.Connection):
    """The library's connection, whose socket is tapped."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._factory = TapFactory()
        self.kwargs["transport_factory"] = self._factory

    @property
    def tap(self) -> Tap | None:
        """None until it is connected."""
        return self._factory.tap
