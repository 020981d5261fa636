"""The log of events in memory, for trials: a restart forgets everything."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from messaging.errors import ConfigurationError
from participants.choreography.log import EventClaim, Line, Owed, Place
from participants.choreography.rules import Entry, State

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(slots=True)
class _Kept:
    entry: Entry
    at: datetime
    is_owed: bool


@dataclass(slots=True)
class _Saga:
    lines: dict[str, _Kept] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class _MemoryClaim:
    entries: Sequence[Entry]
    saved: list[Line] = field(default_factory=list)

    def session(self) -> "AsyncSession":
        raise ConfigurationError(
            "context.session needs a database, and this log is in memory: set SAGA_INBOX_URL,"
            " for example to postgresql://user:password@host/database or sqlite:///inbox.sqlite"
        )

    async def save(self, line: Line) -> None:
        self.saved.append(line)


class MemoryEventLog:
    """Lines in a dictionary of this process."""

    prepare = None

    def __init__(self) -> None:
        self._sagas: dict[tuple[str, str], _Saga] = {}

    @asynccontextmanager
    async def claim(self, service: str, saga_id: str) -> AsyncIterator[EventClaim]:
        saga = self._sagas.setdefault((service, saga_id), _Saga())
        async with saga.lock:
            claim = _MemoryClaim([kept.entry for kept in saga.lines.values()])
            yield claim
            for line in claim.saved:
                _write(saga, line)

    async def mark_published(self, places: Sequence[Place]) -> None:
        for place in places:
            saga = self._sagas.get((place.service, place.saga_id))
            if saga and place.event_id in saga.lines:
                saga.lines[place.event_id].is_owed = False

    async def owed(self, service: str, older_than: timedelta, limit: int) -> Sequence[Owed]:
        until = datetime.now(UTC) - older_than
        found = [
            Owed(place=Place(name, saga_id, event_id), messages=kept.entry.emitted)
            for (name, saga_id), saga in self._sagas.items()
            for event_id, kept in saga.lines.items()
            if name == service and kept.is_owed and kept.at <= until
        ]
        return found[:limit]

    async def purge(self, older_than: timedelta) -> int:
        until = datetime.now(UTC) - older_than
        old = [
            (saga, event_id)
            for saga in self._sagas.values()
            for event_id, kept in saga.lines.items()
            if not kept.is_owed and kept.at <= until
        ]
        for saga, event_id in old:
            del saga.lines[event_id]
        empty = [key for key, saga in self._sagas.items() if not (saga.lines or saga.lock.locked())]
        for key in empty:
            del self._sagas[key]
        return len(old)


def _write(saga: _Saga, line: Line) -> None:
    now = datetime.now(UTC)
    for event_id in line.undone:
        kept = saga.lines[event_id]
        kept.entry, kept.at = replace(kept.entry, state=State.UNDONE), now
    saga.lines[line.entry.event_id] = _Kept(line.entry, now, bool(line.entry.emitted))
