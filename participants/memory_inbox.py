"""The inbox in memory, for trials: a restart forgets everything."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from messaging.errors import ConfigurationError, Conflict
from participants.guard import Entry, State
from participants.inbox import Key, Prepare, SharedClaim

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_AWAITED: Final = frozenset({State.LATER, State.COMPENSATING})
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_PATIENCE: Final = 0.5  # seconds: many steps must not wait long for one


@dataclass(slots=True)
class _Row:
    entry: Entry | None = None
    updated_at: datetime = _NEVER
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    claims: int = 0  # that hold the row or wait for it


@dataclass(slots=True)
class _MemoryClaim:
    entry: Entry | None
    saved: Entry | None = None

    def session(self) -> "AsyncSession":
        raise ConfigurationError(
            "context.session needs a database, and this inbox is in memory: set SAGA_INBOX_URL,"
            " for example to postgresql://user:password@host/database or sqlite:///inbox.sqlite"
        )

    async def save(self, entry: Entry) -> None:
        self.entry = self.saved = entry

    async def keep(self) -> None:
        """There is no session."""

    async def undo(self) -> None:
        """There is no session."""


class MemoryInbox:
    """Entries in a dictionary of this process."""

    contains_effects: Final = False

    def __init__(self) -> None:
        self._rows: dict[Key, _Row] = {}

    async def prepare(self, preparations: Sequence[Prepare]) -> None:
        if preparations:
            names = ", ".join(sorted({_origin(each) for each in preparations}))
            raise ConfigurationError(
                f"the tables of {names} need a database: set SAGA_INBOX_URL, for example to"
                " postgresql://user:password@host/database or sqlite:///inbox.sqlite"
            )

    @asynccontextmanager
    async def claim(self, saga_id: str, step_name: str) -> AsyncIterator[SharedClaim]:
        key = Key(saga_id, step_name)
        row = self._rows.setdefault(key, _Row())
        row.claims += 1
        try:
            async with row.lock:
                claim = _MemoryClaim(entry=row.entry)
                yield claim
                if claim.saved is not None:
                    row.entry, row.updated_at = claim.saved, datetime.now(UTC)
        finally:
            row.claims -= 1
            self._forget_if_unused(key, row)

    @asynccontextmanager
    async def claim_all(
        self, keys: Collection[Key], *, is_divisible: bool
    ) -> AsyncIterator[Mapping[Key, SharedClaim]]:
        async with AsyncExitStack() as held:
            claims = {}
            try:
                async with asyncio.timeout(_PATIENCE):
                    for key in sorted(set(keys)):
                        claims[key] = await held.enter_async_context(self.claim(*key))
            except TimeoutError as error:
                raise Conflict("somebody else is at one of these steps") from error
            yield claims

    @asynccontextmanager
    async def claim_new(self, keys: Collection[Key]) -> AsyncIterator[Mapping[Key, SharedClaim]]:
        async with self.claim_all(keys, is_divisible=False) as claims:
            if any(claim.entry for claim in claims.values()):
                raise Conflict("one of these steps is there already")
            yield claims

    async def ping(self) -> None:
        """Memory is always there."""

    async def purge(self, older_than: timedelta) -> int:
        until = datetime.now(UTC) - older_than
        old = [key for key, row in self._rows.items() if _is_old(row, until)]
        for key in old:
            del self._rows[key]
        return len(old)

    async def close(self) -> None:
        """Nothing to release; the entries stay as long as the object."""

    def _forget_if_unused(self, key: Key, row: _Row) -> None:
        if row.entry is None and row.claims == 0:
            self._rows.pop(key, None)


def _is_old(row: _Row, until: datetime) -> bool:
    return (
        row.entry is not None
        and row.claims == 0
        and row.entry.state not in _AWAITED
        and row.updated_at <= until
    )


def _origin(preparation: Prepare) -> str:
    module = getattr(preparation, "__module__", "?")
    return f"{module}.{getattr(preparation, '__qualname__', repr(preparation))}"
