"""The participants' inbox over the database in memory, and the effects stored beside it."""

import itertools
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from messaging.errors import Conflict
from participants.guard import Entry, State
from participants.inbox import Claim, Key, Prepare, SharedClaim
from tests.simulation.database import Database, Host, Peace, Transaction

INBOX: Final = "saga_inbox"
EFFECTS: Final = "effects"
LOCK_TIMEOUT: Final = 60.0
_AWAITED: Final = frozenset({State.LATER, State.COMPENSATING})
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Effect:
    """What a handler did: `did` or `undid`."""

    saga_id: str
    step: str
    kind: str
    at: float
    by: str


@dataclass(frozen=True, slots=True)
class _Row:
    entry: Entry
    updated_at: datetime


class SimulatedClaim:
    """One step, held by a transaction."""

    def __init__(self, rows: Transaction, key: tuple[str, str]) -> None:
        row = rows.read(INBOX, key)
        self.entry: Entry | None = row.entry if row else None
        self.saved: Entry | None = None
        self.effects: list[Effect] = []
        self._rows = rows

    def session(self) -> Any:
        """What handlers put their effects into: they are stored with the reply, or not at all."""
        return self

    def add(self, effect: Effect) -> None:
        self._rows.check()
        self.effects.append(effect)

    async def save(self, entry: Entry) -> None:
        self.entry = self.saved = entry


class SimulatedSharedClaim(SimulatedClaim):
    """One of several steps of a transaction; its effects can be undone alone, or cannot."""

    def __init__(self, rows: Transaction, key: Key, *, is_divisible: bool) -> None:
        super().__init__(rows, key)
        self._is_divisible = is_divisible
        self._kept: list[Effect] = []

    @property
    def stored_effects(self) -> Sequence[Effect]:
        return self._kept

    async def keep(self) -> None:
        self._kept += self.effects
        self.effects = []

    async def undo(self) -> None:
        if self.effects and not self._is_divisible:
            raise Conflict("not alone")
        self.effects = []


class SimulatedInbox:
    """The port over one database, as one program has it."""

    contains_effects: Final = True

    def __init__(
        self,
        database: Database,
        host: Host | None = None,
        *,
        forgets: Callable[[tuple[str, str]], bool] = lambda key: False,
    ) -> None:
        """`forgets`: steps whose failures are not kept if they may be tried again, as the
        contract allows to participants that have another guard than ours."""
        self.database = database
        self.host = host or Peace()
        self._forgets = forgets

    async def prepare(self, preparations: Sequence[Prepare]) -> None:
        await self.host.reach("prepare inbox")
        self.database.check()

    @asynccontextmanager
    async def claim(self, saga_id: str, step_name: str) -> AsyncIterator[Claim]:
        key = (saga_id, step_name)
        await self.host.reach("claim")
        rows = self.database.begin(self.host)
        try:
            await rows.hold((INBOX, key), LOCK_TIMEOUT)
            claim = SimulatedClaim(rows, key)
            yield claim
            if claim.saved is None or (_is_retryable(claim.saved) and self._forgets(key)):
                return
            await self.host.reach("commit of inbox")
            rows.write(INBOX, key, _Row(claim.saved, self.database.now))
            for effect in claim.effects:
                rows.write(EFFECTS, next(_numbers), effect)
            rows.commit()
        finally:
            rows.end()
        await self.host.leave("commit of inbox")

    @asynccontextmanager
    async def claim_all(
        self, keys: Collection[Key], *, is_divisible: bool
    ) -> AsyncIterator[Mapping[Key, SharedClaim]]:
        await self.host.reach("claim")
        rows = self.database.begin(self.host)
        try:
            claims = {}
            for key in sorted(keys):
                await rows.hold((INBOX, tuple(key)), LOCK_TIMEOUT)
                claims[key] = SimulatedSharedClaim(rows, key, is_divisible=is_divisible)
            yield claims
            await self.host.reach("commit of inbox")
            for key, claim in claims.items():
                if claim.saved and not (_is_retryable(claim.saved) and self._forgets(key)):
                    rows.write(INBOX, tuple(key), _Row(claim.saved, self.database.now))
                for effect in claim.stored_effects:
                    rows.write(EFFECTS, next(_numbers), effect)
            rows.commit()
        finally:
            rows.end()
        await self.host.leave("commit of inbox")

    @asynccontextmanager
    async def claim_new(self, keys: Collection[Key]) -> AsyncIterator[Mapping[Key, SharedClaim]]:
        async with self.claim_all(keys, is_divisible=False) as claims:
            if any(claim.entry for claim in claims.values()):
                raise Conflict("one of these steps is there already")
            yield claims

    async def ping(self) -> None:
        self.database.check()

    async def purge(self, older_than: timedelta) -> int:
        self.database.check()
        until = self.database.now - older_than
        rows = self.database.begin(self.host)
        old = [
            key
            for key, row in rows.all(INBOX).items()
            if row.updated_at <= until
            and row.entry.state not in _AWAITED
            and rows.holds_at_once((INBOX, key))
        ]
        for key in old:
            rows.write(INBOX, key, None)
        rows.commit()
        return len(old)

    async def close(self) -> None:
        """Nothing to release."""


def _is_retryable(entry: Entry) -> bool:
    return entry.state is State.FAILED and bool(entry.action_reply and entry.action_reply.retryable)
