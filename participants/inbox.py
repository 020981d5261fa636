"""What the guard needs of a database. Every implementation passes tests/conformance."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from participants.guard import Entry

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

Prepare = Callable[["AsyncConnection"], Awaitable[None]]
"""Creates what a participant's handlers need in the database, if it is missing."""

RETENTION = timedelta(days=90)
"""How long entries are kept: longer than any saga, queue or restored backup may live."""


class Claim(Protocol):
    """One step of one saga, held against everybody else until the claim is left."""

    @property
    def entry(self) -> Entry | None:
        """What the inbox knew when the step was claimed."""
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
