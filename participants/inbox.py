"""What the guard needs of a database. Every implementation passes tests/conformance."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from participants.guard import Entry

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

Prepare = Callable[["AsyncConnection"], Awaitable[None]]
"""Creates what a participant's handlers need in the database, if it is missing."""

RETENTION = timedelta(days=90)
"""How long entries are kept: longer than any saga, queue or restored backup may live."""


class Key(NamedTuple):
    """One step of one saga."""

    saga_id: str
    step_name: str


class Claim(Protocol):
    """One step of one saga, held against everybody else until the claim is left."""

    @property
    def entry(self) -> Entry | None:
        """What the inbox knew when the step was claimed; what is saved, once something is."""
        ...

    def session(self) -> "AsyncSession":
        """A session in the claim's transaction; the same one at every call.

        Its `commit` flushes, and its `rollback` undoes what the session did since; the
        transaction itself ends with the claim. Raises ConfigurationError without SQL.
        """
        ...

    async def save(self, entry: Entry) -> None:
        """Store `entry` when the claim is left."""
        ...


class SharedClaim(Claim, Protocol):
    """One of several steps that are stored together. A session lasts until `keep` or `undo`."""

    async def keep(self) -> None:
        """End the session; what was done in it is stored with the claims.

        Raises what the database has against it; then only `undo` is left.
        """
        ...

    async def undo(self) -> None:
        """End the session as if it had not been. Raises Conflict if that cannot be done for
        this step alone: leave all claims by the error, and nothing is stored."""
        ...


class Inbox(Protocol):
    """Entries by saga and step. Every method raises Unavailable when the database is away."""

    @property
    def contains_effects(self) -> bool:
        """True if what a handler did through `session` is undone with the claim."""
        ...

    async def prepare(self, preparations: Sequence[Prepare]) -> None:
        """Create the table if it is missing, then run `preparations`: one at a time across
        all processes, in one transaction. Raises ConfigurationError if that cannot be."""
        ...

    def claim(self, saga_id: str, step_name: str) -> AbstractAsyncContextManager[Claim]:
        """Hold a step, waiting for whoever holds it.

        Left normally after `save`, entry and effects are stored together; left without it,
        or by an error, nothing is stored. An error that means that the database is away
        leaves as Unavailable: whether it was stored is then unknown.
        """
        ...

    def claim_all(
        self, keys: Collection[Key], *, is_divisible: bool
    ) -> AbstractAsyncContextManager[Mapping[Key, SharedClaim]]:
        """Claim many steps, and store them and all effects together, as `claim` does for one.

        `is_divisible`: a session can be undone by itself, which costs two statements more for
        each; otherwise `undo` raises Conflict where a session was asked for. Raises Conflict
        also, on entering or on leaving, if somebody else is or was at one of the steps: who
        holds one is waited for no longer than a moment, and only on leaving it is known that
        nobody was there. After a Conflict nothing is stored.
        """
        ...

    def claim_new(
        self, keys: Collection[Key]
    ) -> AbstractAsyncContextManager[Mapping[Key, SharedClaim]]:
        """As `claim_all`, not divisible, of steps that nobody has claimed before: their entries
        are None. Raises Conflict, on entering or on leaving, if one of them is there."""
        ...

    async def ping(self) -> None:
        """Nothing, if the database answers."""
        ...

    async def purge(self, older_than: timedelta) -> int:
        """Forget entries that have not changed for so long, except those that still await an
        answer. How many were forgotten."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
