"""Publishes bytes that no client library would write, over a plain socket."""

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pamqp import base, body, commands, constants, frame
from pamqp.header import ProtocolHeader

from messaging.poison import nested_arrays, nested_tables, short_text, sized, with_properties
from messaging.topology import Names
from tests.corpus import DESTINATION

Method = TypeVar("Method", bound=base.Frame)

FLAGS: Final[Mapping[str, int]] = commands.Basic.Properties.flags  # in the order of their values
FRAME_BYTES: Final = 100_000
REPLY: Final = b'{"saga_id":"corpus-1","step_name":"reserve_inventory","result":{}}'
COMMAND: Final = b'{"saga_id":"corpus-1","step_name":"reserve_inventory"}'
DIRECTION: Final = b"\x0esaga-directionS" + sized(b"action")
BAD: Final = b"a\xff\xfeb"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCase:
    """A message with malformed properties, and what is expected of it."""

    name: str
    numbers: tuple[int, ...]  # in the catalogue
    queue: str  # "replies" or "commands"
    routing_key: bytes
    properties: Mapping[str, bytes]  # encoded values by their names in `FLAGS`
    body: bytes
    expected: str = "accepted"  # or the reason it is rejected for, or "refused" by the broker

    def exchange(self, names: Names) -> str:
        return names.commands if self.queue == "commands" else names.replies


class RefusedByBrokerError(Exception):
    """The broker closed the channel or the connection instead of confirming."""


class RawConnection:
    """A login, one channel in confirm mode, and whatever bytes for properties. Blocking."""

    def __init__(self, amqp_url: str, *, timeout: float = 10.0) -> None:
        parts = urlsplit(amqp_url)
        self._login = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
        self._vhost = unquote(parts.path[1:]) or "/"
        address = (parts.hostname or "127.0.0.1", parts.port or 5672)
        self._socket = socket.create_connection(address, timeout=timeout)
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        self._socket.sendall(frame.marshal(ProtocolHeader(), 0))
        self._expect(commands.Connection.Start)
        name, password = self._login
        self._send(0, commands.Connection.StartOk(response=f"\0{name}\0{password}"))
        tune = self._expect(commands.Connection.Tune)
        tuned = commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0)
        self._send(0, tuned, commands.Connection.Open(self._vhost))
        self._expect(commands.Connection.OpenOk)
        self._send(1, commands.Channel.Open())
        self._expect(commands.Channel.OpenOk)
        self._send(1, commands.Confirm.Select())
        self._expect(commands.Confirm.SelectOk)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()
        self._socket.close()

    def publish(
        self, exchange: str, routing_key: bytes, properties: Mapping[str, bytes], content: bytes
    ) -> None:
        """Returns once the broker has confirmed. The message need not be routable."""
        index = struct.pack(">I", commands.Basic.Publish.index)
        address = short_text(exchange.encode()) + short_text(routing_key)
        self._send_frame(constants.FRAME_METHOD, index + b"\0\0" + address + b"\0")
        flags = sum(FLAGS[name] for name in properties)
        values = b"".join(properties[name] for name in FLAGS if name in properties)
        header = with_properties(len(content), flags, values)
        self._send_frame(constants.FRAME_HEADER, header)
        for start in range(0, len(content), FRAME_BYTES):
            self._send(1, body.ContentBody(content[start : start + FRAME_BYTES]))
        self._expect(commands.Basic.Ack)

    def _send(self, channel: int, *frames: frame.FrameTypes) -> None:
        self._socket.sendall(b"".join(frame.marshal(each, channel) for each in frames))

    def _send_frame(self, kind: int, payload: bytes) -> None:
        beginning = struct.pack(">BHI", kind, 1, len(payload))
        self._socket.sendall(beginning + payload + constants.FRAME_END_CHAR)

    def _expect(self, kind: type[Method]) -> Method:
        """The next frame from the broker, which must be of that kind."""
        beginning = self._read(constants.FRAME_HEADER_SIZE)
        _, _, size = frame.frame_parts(beginning)
        _, _, received = frame.unmarshal(beginning + self._read((size or 0) + 1))
        if not isinstance(received, kind):
            raise RefusedByBrokerError(f"{received.name}: {getattr(received, 'reply_text', '')}")
        return received

    def _read(self, size: int) -> bytes:
        content = self._reader.read(size)
        if len(content) < size:
            raise RefusedByBrokerError("the broker has closed the connection")
        return content


def publish_raw(
    amqp_url: str,
    exchange: str,
    routing_key: bytes,
    properties: Mapping[str, bytes],
    content: bytes,
) -> None:
    """Publish one message, confirmed. `RawConnection` is for many."""
    with RawConnection(amqp_url) as connection:
        connection.publish(exchange, routing_key, properties, content)


def _reply(
    number: int, name: str, properties: Mapping[str, bytes], expected: str = "accepted"
) -> RawCase:
    usual = {"content_type": short_text(b"application/json")}
    return RawCase(
        name=name,
        numbers=(number,),
        queue="replies",
        routing_key=b"SagaStepCompleted",
        properties={**usual, **properties},
        body=REPLY,
        expected=expected,
    )


def _command(
    number: int,
    name: str,
    headers: bytes,
    expected: str = "accepted",
    routing_key: bytes | None = None,
) -> RawCase:
    return RawCase(
        name=name,
        numbers=(number,),
        queue="commands",
        routing_key=routing_key or DESTINATION.encode(),
        properties={"headers": sized(headers)},
        body=COMMAND,
        expected=expected,
    )


def _headers(entries: bytes) -> dict[str, bytes]:
    return {"headers": sized(entries)}


# Not NaN or an infinity, on which RabbitMQ closes the sender's connection.
_EVERY_KIND: Final = b"".join(
    (
        b"\x01ab\xff\x01bB\xff\x01cs\xff\xff\x01du\xff\xff\x01eI\xff\xff\xff\xff",
        b"\x01fi\xff\xff\xff\xff\x01gl\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x01hf\x40\0\0\0\x01id\x40\0\0\0\0\0\0\0\x01jD\xff\xff\xff\xff\xff",
        b"\x01kV\x01lt\x02\x01mx" + sized(BAD) + b"\x01nS" + sized(BAD),
    )
)

RAW_CASES: Final = (
    _reply(1, "a message id that is not UTF-8", {"message_id": short_text(BAD)}),
    _reply(2, "a correlation id that is not UTF-8", {"correlation_id": short_text(BAD)}),
    _reply(2, "an app id that is not UTF-8", {"app_id": short_text(BAD)}),
    _reply(2, "an app id of NUL characters", {"app_id": short_text(b"a\0b")}),
    _reply(
        1, "a message id of 255 bytes that are not UTF-8", {"message_id": short_text(b"\xff" * 255)}
    ),
    _reply(2, "a reply_to that is not UTF-8", {"reply_to": short_text(BAD)}),
    _reply(2, "a type that is not UTF-8", {"message_type": short_text(BAD)}, "unknown_type"),
    _reply(
        2, "a content type that is not UTF-8", {"content_type": short_text(BAD)}, "bad_content_type"
    ),
    _reply(
        2,
        "an encoding that is not UTF-8",
        {"content_encoding": short_text(BAD)},
        "unsupported_encoding",
    ),
    _reply(3, "a timestamp in year 33658", {"timestamp": struct.pack(">Q", 999_999_999_999_999)}),
    _reply(3, "the timestamp 2^63", {"timestamp": struct.pack(">Q", 2**63)}),
    _reply(3, "the timestamp 2^64 - 1", {"timestamp": struct.pack(">Q", 2**64 - 1)}),
    _reply(15, "the priority 255", {"priority": b"\xff"}),
    _reply(4, "a header's name that is not UTF-8", _headers(short_text(BAD) + b"b\x01")),
    _reply(5, "a header's timestamp out of range", _headers(b"\x01kT" + b"\xff" * 8)),
    _reply(6, "header tables nested 3000 deep", _headers(nested_tables(3000))),
    _reply(7, "header arrays nested 3000 deep", _headers(b"\x01k" + nested_arrays(3000))),
    _reply(4, "the same header twice", _headers(b"\x01kb\x01" * 2)),
    _reply(4, "a header without a name", _headers(b"\0b\x01")),
    _reply(8, "every kind of header", _headers(_EVERY_KIND)),
    _reply(
        8,
        "a text header with bytes for an attempt",
        _headers(b"\x0csaga-attemptS" + sized(BAD)),
        "bad_header",
    ),
    _command(8, "a direction that is not UTF-8", b"\x0esaga-directionS" + sized(BAD), "bad_header"),
    _command(8, "a command id that is not UTF-8", DIRECTION + b"\x0fsaga-command-idS" + sized(BAD)),
    _command(
        18, "a routing key that is not UTF-8", DIRECTION, "unknown_type", b"InventoryService." + BAD
    ),
    _command(
        18,
        "a routing key of 255 bytes",
        DIRECTION,
        "unknown_type",
        (b"InventoryService." + b"x" * 255)[:255],
    ),
    _command(8, "a direction in bytes", b"\x0esaga-directionx" + sized(BAD), "bad_header"),
)

# Nobody else ever sees these: the broker closes the channel or connection of their sender.
REFUSED_CASES: Final = (
    _reply(9, "a header of no known kind", _headers(b"\x01kQ\0\0"), "refused"),
    _reply(9, "a header with a negative length", _headers(b"\x01kS" + b"\xff" * 4), "refused"),
    _reply(9, "a header that breaks off", _headers(b"\x01kl\0"), "refused"),
    _reply(9, "a header that is no number", _headers(b"\x01kd\x7f\xf8" + b"\0" * 6), "refused"),
    _reply(53, "a forged user", {"user_id": short_text(b"somebody-else")}, "refused"),
)
