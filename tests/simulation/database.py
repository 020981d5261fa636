"""A transactional database in memory: row locks, commits, lost connections, lost commits.

READ COMMITTED, as the product uses Postgres: what is read is what is committed, and a row
that is locked stays as it is until the transaction that holds it ends.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from messaging.errors import Unavailable

LOCK_TIMEOUT: Final = 2.0
BEGINNING: Final = datetime(2030, 1, 1, tzinfo=UTC)
Key = tuple[str, Any]  # table, and key in it


class Host(Protocol):
    """Where a port is called from, and what befalls the call: see `faults`."""

    async def reach(self, call: str) -> None:
        """Before the effect of a call. May end the program, or raise Unavailable."""
        ...

    async def leave(self, call: str) -> None:
        """After its effect: the same, and then nobody knows whether it took place."""
        ...


class Peace:
    """Nothing befalls anybody."""

    async def reach(self, call: str) -> None:
        await asyncio.sleep(0)

    async def leave(self, call: str) -> None:
        """Nothing."""


class Database:
    """Tables of immutable values by key."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.tables: dict[str, dict[Any, Any]] = {}
        self.is_up = True
        self.excludes = True  # False: a row lock keeps nobody out
        self.epoch = 1  # a failover begins another one
        self.clock_error = 0.0  # seconds by which its clock is wrong
        self.listeners: list[Callable[[], None]] = []  # told of what transactions announce
        self.on_commit: Callable[[Collection[tuple[Key, Any]]], None] | None = None
        self._seconds = seconds
        self._transactions: list[Transaction] = []
        self._locks: dict[Key, Transaction] = {}
        self._waiting: dict[Key, list[asyncio.Future[None]]] = {}
        self._journal: list[tuple[float, Mapping[Key, tuple[Any, int]]]] = []
        self._number = 0  # of the last transaction that has written
        self._written_by: dict[Key, int] = {}

    @property
    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self._seconds() + self.clock_error)

    def check(self) -> None:
        if not self.is_up:
            raise Unavailable("the database is down")

    def table(self, name: str) -> dict[Any, Any]:
        return self.tables.setdefault(name, {})

    def xmin(self, table: str, key: Any) -> int:
        """The number of the transaction that wrote the row; 0 if there is none."""
        return self._written_by.get((table, key), 0)

    def begin(self, host: Host) -> "Transaction":
        self.check()
        transaction = Transaction(self, host)
        self._transactions.append(transaction)
        return transaction

    def cut(self, host: Host | None = None) -> None:
        """End the sessions of one program, or all: what is not committed is undone."""
        for transaction in list(self._transactions):
            if host is None or transaction.host is host:
                transaction.end()

    def go_down(self) -> None:
        self.is_up = False
        self.cut()

    def come_back(self) -> None:
        self.is_up = True

    def fail_over(self, lost: float) -> int:
        """Another server takes over that has not got the commits of the last `lost` seconds.

        How many commits were lost. From now on it is another epoch, and the numbers of what
        was lost are given again.
        """
        self.cut()
        self.epoch += 1
        since, count = self._seconds() - lost, 0
        while self._journal and self._journal[-1][0] >= since:
            _, before = self._journal.pop()
            count += 1
            for (table, key), (value, xmin) in before.items():
                self._put(table, key, value, xmin)
        self._number -= count
        return count

    def _apply(self, writes: Mapping[Key, Any]) -> int:
        """The number of the transaction that has done it."""
        before = {key: (self.table(key[0]).get(key[1]), self.xmin(*key)) for key in writes}
        self._journal.append((self._seconds(), before))
        self._number += 1
        for (table, key), value in writes.items():
            self._put(table, key, value, self._number)
        if self.on_commit is not None:
            self.on_commit(writes.items())
        return self._number

    def _put(self, table: str, key: Any, value: Any, xmin: int) -> None:
        self._written_by[table, key] = xmin
        if value is None:
            self.table(table).pop(key, None)
        else:
            self.table(table)[key] = value


class Transaction:
    """What one session is doing. Ended by a commit, by an error, or by the server."""

    def __init__(self, database: Database, host: Host) -> None:
        self.host = host
        self.now = database.now
        self.epoch = str(database.epoch)
        self.is_open = True
        self._database = database
        self._writes: dict[Key, Any] = {}
        self._held: list[Key] = []
        self.number = 0  # once it has committed what it wrote
        self._is_notifying = False
        self._turn: asyncio.Future[None] | None = None  # it waits for a row

    async def hold(self, key: Key, timeout: float = LOCK_TIMEOUT) -> None:
        """Lock a row, waiting for whoever holds it."""
        self.check()
        locks = self._database._locks
        if not self._database.excludes or locks.get(key) is self:
            return
        if key in locks:
            await self._wait_for(key, timeout)
        locks[key] = self
        self._held.append(key)

    def holds_at_once(self, key: Key) -> bool:
        """Lock a row if nobody holds it."""
        self.check()
        if not self._database.excludes:
            return True
        if key in self._database._locks:
            return self._database._locks[key] is self
        self._database._locks[key] = self
        self._held.append(key)
        return True

    def read(self, table: str, key: Any) -> Any:
        self.check()
        if (table, key) in self._writes:
            return self._writes[table, key]
        return self._database.table(table).get(key)

    def all(self, table: str) -> Mapping[Any, Any]:
        """What is committed."""
        self.check()
        return self._database.table(table)

    def keys(self, table: str) -> list[Any]:
        """Of the rows that are committed, and of those that this transaction has written."""
        own = [key for known, key in self._writes if known == table]
        return list(dict.fromkeys([*self.all(table), *own]))

    @property
    def database(self) -> Database:
        return self._database

    @property
    def excludes(self) -> bool:
        return self._database.excludes

    def write(self, table: str, key: Any, value: Any) -> None:
        """None removes the row."""
        self.check()
        self._writes[table, key] = value

    def notify(self) -> None:
        self._is_notifying = True

    def commit(self) -> None:
        self.check()
        if self._writes:
            self.number = self._database._apply(self._writes)
        self.end()
        if self._is_notifying:
            for listener in self._database.listeners:
                listener()

    def end(self) -> None:
        """Undo what is not committed, and let others have the rows."""
        if not self.is_open:
            return
        self.is_open = False
        self._database._transactions.remove(self)
        for key in self._held:
            del self._database._locks[key]
            for turn in self._database._waiting.pop(key, ()):
                _wake(turn)
        _wake(self._turn)

    def check(self) -> None:
        if not self.is_open:
            raise Unavailable("the connection to the database is lost")

    async def _wait_for(self, key: Key, timeout: float) -> None:
        waiting = self._database._waiting
        try:
            async with asyncio.timeout(timeout):
                while key in self._database._locks:
                    self._turn = asyncio.get_running_loop().create_future()
                    waiting.setdefault(key, []).append(self._turn)
                    await self._turn
                    self.check()
        except TimeoutError as error:
            raise Unavailable(f"the lock on {key} was not had in {timeout:g} s") from error
        finally:
            self._turn = None


def _wake(turn: asyncio.Future[None] | None) -> None:
    if turn is not None and not turn.done():
        turn.set_result(None)
