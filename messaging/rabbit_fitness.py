"""Whether the installed client library can be tapped, and the way to connect that follows."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from functools import cache
from importlib.metadata import version
from typing import Any, Final, SupportsIndex

import aio_pika
from aio_pika.abc import AbstractConnection
from pamqp import body, commands, frame, header

from messaging import received, wire
from messaging.rabbit_tap import Tap, TappedConnection

_log: Final = logging.getLogger(__name__)

_CHANNEL: Final = 7


def fitting_connect(**arguments: Any) -> Awaitable[AbstractConnection]:
    """In bulk if the library lets us, message by message if not."""
    if is_fit():
        arguments["connection_class"] = TappedConnection
    return aio_pika.connect(**arguments)


def plain_connect(**arguments: Any) -> Awaitable[AbstractConnection]:
    """Message by message."""
    return aio_pika.connect(**arguments)


@cache
def is_fit() -> bool:
    """Tried once for each process; a warning tells why not."""
    try:
        problem = _problem()
    except Exception as error:  # whatever has changed in the library: the plain way is left
        problem = f"{type(error).__name__}: {error}"
    if problem:
        _log.warning(
            "aio-pika %s with aiormq %s cannot be tapped (%s): messages take the slower way, one"
            " by one; install the releases that uv.lock names",
            version("aio-pika"),
            version("aiormq"),
            problem,
        )
    return problem is None


def _problem() -> str | None:
    """What a small conversation over a tap shows; None if all is well."""
    if TappedConnection("amqp://localhost/").kwargs.get("transport_factory") is None:
        return "a connection takes no transport of ours"
    loop = asyncio.get_running_loop()
    reader, listener = _Reader(loop=loop), _Listener()
    tap = Tap(reader, loop)
    tap.listen(_CHANNEL, listener)
    received = wire.HEARTBEAT + _delivery() + wire.HEARTBEAT
    for start in range(0, len(received), 5):
        tap.data_received(received[start : start + 5])
    if listener.heard != [(b"body", 9)]:
        return "a delivery is not heard"
    if reader.passed != wire.HEARTBEAT * 2:
        return "what is not ours does not pass"
    return None


class _Reader(asyncio.StreamReader):
    """Notes what passes."""

    passed = b""

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.passed += bytes(data)


class _Listener:
    """Notes the bodies and tags that it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, int]] = []

    def delivered(self, method: bytes, header: bytes, body: bytes) -> None:
        delivery = received.delivery_of(method, header, body, queue="", session=1)
        self.heard.append((delivery.body, delivery.tag))

    def returned(self, header: bytes) -> None: ...

    def confirmed(self, tag: int, *, multiple: bool, is_refused: bool) -> None: ...

    def pause(self) -> None: ...

    def closed(self) -> None: ...


def _delivery() -> bytes:
    """As the library would write it."""
    properties = commands.Basic.Properties(message_id="1")
    parts = (
        commands.Basic.Deliver("tag", 9, False, "exchange", "key"),
        header.ContentHeader(body_size=4, properties=properties),
        body.ContentBody(b"body"),
    )
    return b"".join(frame.marshal(part, _CHANNEL) for part in parts)
