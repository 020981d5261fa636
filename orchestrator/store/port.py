"""What the worker needs of a database. Both implementations pass tests/conformance."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from orchestrator.saga.locking import LockRequest, Standing
from orchestrator.saga.state import Decision, Saga


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckSagas:
    """How many sagas of a type and state have not moved for too long."""

    saga_type: str
    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCount:
    """How many sagas of a type wait for locks, and for how long one has held some by now."""

    saga_type: str
    waiting: int
    longest_held: timedelta


class Outlook(NamedTuple):
    """What the clock has to know of the database before it sleeps."""

    now: datetime
    epoch: str
    is_due: bool  # some saga is, perhaps one that nobody here knows
    next_wake_at: datetime | None
    """When the next saga is due, or somewhat earlier. Those that nobody has taken for 10 s do
    not count."""


class Recalled(Protocol):
    """Sagas as this process has saved them last, to be decided on before anybody looks.

    The database takes what is decided only where that is still so.
    """

    now: datetime  # the database's clock, as far as it is known without asking
    epoch: str
    sagas: Mapping[str, Saga]

    async def save(self, new: Sequence[Decision], changed: Sequence[Decision]) -> Collection[str]:
        """Store them in one round trip for each of the two; once. The ids of those that are
        stored: of the others nothing is. Never waits for who has a row locked; for a moment
        perhaps for who is storing a saga of the same id.

        Stores nothing if the epoch is another one, or `now` more than a second off.

        Raises as a transaction does: what was asked for last may have been stored all the same.
        """
        ...


class Transaction(Protocol):
    """One database transaction. Leaving it normally commits; by an error, rolls back.

    Once a call has failed nothing can be committed: leaving it raises that error again.
    """

    now: datetime  # the database's clock when the transaction began
    epoch: str  # another one than before: the database may have lost what it had committed
    has_moved_lines: bool  # locks were taken or let go: others may be next, once it is committed

    async def lock(self, saga_ids: Collection[str]) -> Mapping[str, Saga]:
        """The sagas that exist, by id, locked in id order until the transaction ends.

        Those that have not ended and were last saved in another epoch are in doubt.

        Raises StatementRejected, naming it, for a saga that this release cannot read;
        `lock_due` passes over such a one.
        """
        ...

    async def lock_due(self, limit: int, saga_types: Collection[str]) -> Sequence[Saga]:
        """Sagas whose `wake_at` has passed, oldest first, skipping locked ones.

        Sagas that still have to be planned only if their type is among `saga_types`.
        """
        ...

    async def wake_doubtful(self, limit: int) -> int:
        """Make sagas in doubt due at once, but for locked ones; how many, at most `limit`."""
        ...

    async def insert(self, decisions: Sequence[Decision]) -> Collection[str]:
        """Store new sagas with their history; the ids that somebody else has taken are
        returned, and nothing of theirs is stored."""
        ...

    async def save(self, decisions: Sequence[Decision]) -> None:
        """Store the sagas of decisions with `must_save` and append their transitions.

        The sagas must be locked by this transaction; each at most once.
        """
        ...

    async def claim(self, requests: Sequence[LockRequest]) -> Mapping[str, Standing]:
        """Take all locks of each request or none, in turn; those not granted stand in line.

        Never waits. A name that two hold there is never. `insert` and `save` let go of what
        sagas hold that have ended, and of their places in line.
        """
        ...

    async def let_go(self, saga_ids: Collection[str]) -> None:
        """Give up what these sagas hold, and their places in line."""
        ...

    async def wake_next_in_line(self, limit: int) -> int:
        """Make sagas due at once that wait for locks and can have all of theirs, but for locked
        ones; how many, at most `limit`. Nobody is overlooked whose wait, and for whom the way
        was cleared, was committed before."""
        ...

    async def notify(self) -> None:
        """At commit, wake the workers that wait for due sagas."""
        ...


class Store(Protocol):
    """Sagas and their history. Every method raises Unavailable when the database is away,
    its kind Busy when rows are locked or there was too much to do in time, and
    StatementRejected when the database will never take what it was given."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin. Timeouts: 2 s for a row lock, 5 s for a statement."""
        ...

    def recalled(self, saga_ids: Collection[str]) -> Recalled | None:
        """What is in memory of these. None where it is better to look, and where one must."""
        ...

    async def held(self, saga_ids: Collection[str]) -> Collection[str]:
        """Those of them whose rows somebody else has locked at this moment."""
        ...

    async def wait_for_due(self, timeout: float) -> None:
        """Return when `notify` was called somewhere since the last wait, or after `timeout`
        seconds; sometimes earlier. For one waiter at a time. Never raises Unavailable."""
        ...

    async def outlook(self) -> Outlook:
        """Whether there is anything for a clock to do, and if not, when there will be."""
        ...

    async def unanswered(self, *, within: timedelta, limit: int) -> int:
        """How many sagas started in that time before now wait for their first reply, at most
        `limit`."""
        ...

    async def lock_counts(self) -> Sequence[LockCount]:
        """By saga type, of those that wait for locks or hold some."""
        ...

    async def clear_locks(self) -> int:
        """Delete what sagas hold that have ended or are gone all the same; how many lines."""
        ...

    async def stuck(self) -> Sequence[StuckSagas]:
        """Counts of unfinished sagas not moved for `stuck_after` and not due in the future."""
        ...

    async def check(self) -> None:
        """Raise Unavailable, or ConfigurationError when the schema is not the one we need."""
        ...

    async def close(self) -> None: ...
