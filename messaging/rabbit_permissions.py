"""What a user may do on RabbitMQ, found out without doing it.

The broker checks permissions before it looks at the rest of a request. Each question is a
request that it refuses for another reason where the permission is there: none has an effect.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed
from pamqp.commands import Basic

from messaging.errors import Unavailable
from messaging.rabbit_fitness import plain_connect
from messaging.rabbit_session import Session, open_session, within
from messaging.rabbit_url import parse_address
from messaging.topology import Names

ANSWER_SECONDS: Final = 3.0

_Question = Callable[[Channel], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Write:
    """Publishing to an exchange; on a topic exchange the key may matter, too."""

    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What the user may do, of what was asked."""

    may_configure: bool  # exchanges and queues of the namespace
    reads: frozenset[str]  # queues
    writes: frozenset[Write]
    is_blocked: bool = False  # the broker takes no messages now: an alarm


async def permissions(
    url: str, names: Names, *, reads: Iterable[str], writes: Iterable[Write]
) -> Permissions:
    """Ask about these queues and exchanges. Raises ConfigurationError or Unavailable."""
    session = await open_session(parse_address(url), "saga doctor", plain_connect)
    try:
        may_configure = await _is_allowed(session, _configuring(names))
        readable = [queue for queue in reads if await _is_allowed(session, _reading(queue))]
        writable = await _writable(session, writes)
    except CONNECTION_EXCEPTIONS as error:
        raise Unavailable(f"the connection to the broker was lost: {error}") from error
    finally:
        await session.close()
    return Permissions(
        may_configure=may_configure,
        reads=frozenset(readable),
        writes=frozenset(writable or ()),
        is_blocked=writable is None,
    )


async def _writable(session: Session, writes: Iterable[Write]) -> list[Write] | None:
    """None if the broker does not answer: it reads nothing from who publishes under an alarm."""
    try:
        return [write for write in writes if await _is_allowed(session, _writing(write))]
    except Unavailable:
        return None


async def _is_allowed(session: Session, question: _Question) -> bool:
    channel = await session.channel(confirms=True)  # one each: an error closes it
    try:
        await within(ANSWER_SECONDS, question(channel))
    except ChannelAccessRefused:
        return False
    except ChannelClosed:
        return True  # it got as far as the other reason
    await session.close_channel(channel)
    return True


def _configuring(names: Names) -> _Question:
    """Deleting a queue that is not there."""
    name = f"{names.namespace}.doctor.{uuid4().hex}"
    return lambda channel: channel.queue_delete(name, timeout=ANSWER_SECONDS)


def _reading(queue: str) -> _Question:
    """A consumer with a priority that is no number."""

    async def ignore(_: DeliveredMessage) -> None:
        """Nothing is ever delivered."""

    return lambda channel: channel.basic_consume(
        queue, ignore, arguments={"x-priority": "none"}, timeout=ANSWER_SECONDS
    )


def _writing(write: Write) -> _Question:
    """A message with a lifetime that is no number."""
    return lambda channel: channel.basic_publish(
        b"{}",
        exchange=write.exchange,
        routing_key=write.routing_key,
        properties=Basic.Properties(expiration="never"),
        timeout=ANSWER_SECONDS,
    )
