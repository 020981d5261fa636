"""What the programs need of a broker. Every implementation passes tests/conformance."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import Enum, auto
from types import TracebackType
from typing import Any, Protocol, Self

from messaging.values import value


@value
class Outgoing:
    """A message to publish. The broker adds `message_id`, `timestamp`, `app_id` and `user_id`."""

    exchange: str
    routing_key: str
    type: str
    body: bytes
    correlation_id: str | None = None
    headers: Mapping[str, str | int] = field(default_factory=dict)
    mandatory: bool = True  # False only for events, which need no listener


@value
class Delivery:
    """One arrival of a message. Texts that were not UTF-8 carry backslash escapes."""

    queue: str
    exchange: str
    routing_key: str
    body: bytes
    tag: int  # the broker's number for this arrival, unique within its session
    session: int  # which connection it came over; settling it after that one's end does nothing
    redelivered: bool = False
    delivery_count: int = 0  # failed deliveries before this one
    type: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    app_id: str | None = None
    user_id: str | None = None
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


class Receipt(Enum):
    """What became of one publish."""

    CONFIRMED = auto()  # the broker has it, safely
    UNROUTABLE = auto()  # returned, as no queue is bound for it; or this very message is refused
    UNKNOWN = auto()  # refused, timed out or the connection was lost: send again


class Consumer(Protocol):
    """Deliveries of one queue, at least once, across any number of lost connections.

    A delivery that is neither settled nor released comes again, marked redelivered, after
    its connection is lost or the consumer is closed. Order is the queue's order per session,
    except for what comes again.
    """

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Everything that has arrived, at least one and at most `limit`.

        Waits without end; Unavailable if the consumer is closed meanwhile.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settle for good. Deliveries of a lost session are skipped: they come again."""
        ...

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give back for another consumer. Each return counts towards the delivery limit."""
        ...

    async def close(self) -> None:
        """Stop consuming. What is not settled goes back to the queue."""
        ...


class Broker(Protocol):
    """A message broker with confirms, returns, acknowledgements and dead-lettering.

    Opened as an asynchronous context manager. Supervised: lost connections are built anew
    with backoff, and nothing here raises because of one, except where it says so.
    """

    async def __aenter__(self) -> Self:
        """Begin to connect, in the background. `wait_ready` tells how it went."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """`close`."""
        ...

    async def wait_ready(self, timeout: float) -> None:
        """Wait until `is_ready`, at most `timeout` seconds.

        Raises ConfigurationError at once if the login is refused or the topology differs,
        Unavailable if the broker is not reached in time. It goes on trying either way.
        """
        ...

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        """Publish all, persistent and confirmed; one receipt each, in order.

        Returns within the publish deadline (5 s by default) whatever happens. A fresh
        `message_id` is drawn for every message at every call.
        """
        ...

    async def consume(self, queue: str, *, prefetch: int, priority: int = 0) -> Consumer:
        """Begin to consume. Returns at once; deliveries come when the connection is up.

        Of all who consume the queue, those of the highest priority are served first, as long
        as each holds less than its prefetch; what they cannot take goes to the next. Equals
        are served in turn. `priority` may be any integer of 64 bits with a sign.
        """
        ...

    def is_ready(self) -> bool:
        """True while the broker can be published to and every consumer is really consuming."""
        ...

    def obstacle(self) -> str | None:
        """Why it is not ready, in words for an operator; None if it is. Never waits."""
        ...

    async def close(self) -> None:
        """Close connections; afterwards `publish` answers UNKNOWN. Takes at most 5 s."""
        ...
