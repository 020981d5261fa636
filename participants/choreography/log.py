"""What a choreographed service needs of a database. Every implementation passes one suite."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from messaging.events import Event
from messaging.port import Outgoing
from participants.choreography.rules import Entry

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


class Place(NamedTuple):
    """One line of a service's log."""

    service: str
    saga_id: str
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry as it is written: with what the log tells of the event beside it."""

    entry: Entry
    event: Event
    payload: bytes  # of the event as it came, or as it was emitted first
    undone: tuple[str, ...] = ()  # ids of the events whose reactions are undone by it


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Events that were stored, and of which nobody knows that they were published."""

    place: Place
    messages: tuple[Outgoing, ...]


class EventClaim(Protocol):
    """All that one service knows of one saga, held against everybody else."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The log's lines, the oldest first."""
        ...

    def session(self) -> "AsyncSession":
        """A session in the claim's transaction, as an inbox's claim gives it."""
        ...

    async def save(self, line: Line) -> None:
        """Write the line when the claim is left, and owe what it emitted."""
        ...


class EventLog(Protocol):
    """Lines by service, saga and event. Every method raises Unavailable without the database."""

    @property
    def prepare(self) -> "Callable[[AsyncConnection], Awaitable[None]] | None":
        """What creates the table if it is missing; None if there is none to create."""
        ...

    def claim(self, service: str, saga_id: str) -> AbstractAsyncContextManager[EventClaim]:
        """Hold a saga in a service, waiting for whoever holds it.

        Left normally after `save`, line and effects are stored together; left without it, or by
        an error, nothing is. An error that means that the database is away leaves as
        Unavailable: whether it was stored is then unknown.
        """
        ...

    async def mark_published(self, places: Sequence[Place]) -> None:
        """What these lines emitted is with the broker: it is owed no more."""
        ...

    async def owed(self, service: str, older_than: timedelta, limit: int) -> Sequence[Owed]:
        """What the service has owed for so long, the oldest first."""
        ...

    async def purge(self, older_than: timedelta) -> int:
        """Forget lines that have not changed for so long and owe nothing: how many."""
        ...
