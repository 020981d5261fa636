"""Broker, store and inbox of a drilled run: as they are, with the injection at each call."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import delete, event

from messaging.memory import MemoryBroker, MemoryServer
from messaging.port import Consumer, Delivery, Outgoing, Receipt
from messaging.topology import TopologyMode, installation
from orchestrator.saga.state import Decision
from orchestrator.store.sqlite import SqliteStore, SqliteTransaction
from orchestrator.store.tables import metadata
from orchestrator.testing.drill.injection import Injection
from orchestrator.testing.drill.wire import subject_of
from orchestrator.testing.programs import NAMES
from participants.inbox import Claim, Key, Prepare, SharedClaim
from participants.sql_inbox import SqlInbox

is_orchestrator: Final[ContextVar[bool]] = ContextVar("is_orchestrator", default=False)
"""Whether it is the orchestrator that works now, and not the drill."""

Committed = Callable[[Collection[Key]], Awaitable[None]]


class DrilledConsumer:
    """Deliveries whose acknowledgement may never come to be."""

    def __init__(self, consumer: Consumer, program: str, injection: Injection) -> None:
        self._consumer = consumer
        self._program = program
        self._injection = injection

    async def receive(self, limit: int) -> Sequence[Delivery]:
        return await self._consumer.receive(limit)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        subjects = [subject_of(_sent(each)) for each in deliveries]
        await self._injection.acking(self._program, subjects)
        await self._consumer.ack(deliveries)
        await self._injection.acked(self._program)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self._consumer.release(deliveries)

    async def close(self) -> None:
        await self._consumer.close()


class DrilledBroker(MemoryBroker):
    """The connection of one program."""

    def __init__(self, server: MemoryServer, program: str, injection: Injection) -> None:
        super().__init__(
            server,
            names=NAMES,
            topology=installation(NAMES, ()),
            mode=TopologyMode.DECLARE,
            app_id=program,
            user_id=program,
        )
        self._program = program
        self._injection = injection

    async def publish(self, messages: Sequence[Outgoing]) -> Sequence[Receipt]:
        copies = await self._injection.publishing(self._program, messages)
        pairs = zip(messages, copies, strict=True)
        receipts = [await self._publish_copies(message, count) for message, count in pairs]
        await self.post(await self._injection.published(self._program, messages))
        return receipts

    async def post(self, messages: Sequence[Outgoing]) -> None:
        """Publish what was held back."""
        await super().publish(messages)

    async def consume(  # type: ignore[override]
        self, queue: str, *, prefetch: int, priority: int = 0
    ) -> Consumer:
        """Watched, and else as it is."""
        consumer = await super().consume(queue, prefetch=prefetch, priority=priority)
        return DrilledConsumer(consumer, self._program, self._injection)

    async def _publish_copies(self, message: Outgoing, count: int) -> Receipt:
        receipts = await super().publish([message] * count)
        return receipts[0] if receipts else Receipt.CONFIRMED


class DrilledStore(SqliteStore):
    """The sagas' database: the orchestrator may crash before and after it commits."""

    injection: Injection | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        injection = self.injection if is_orchestrator.get() else None
        if injection is None:
            async with super().transaction() as transaction:
                yield transaction
            return
        async with super().transaction() as transaction:
            moved = _watched(transaction)
            yield transaction
            await injection.committing(moved)
        if moved:
            await injection.committed()

    async def clear(self) -> None:
        """Forget all sagas."""
        async with self._engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(delete(table))


class DrilledInbox(SqlInbox):
    """The services' database, which need not survive the machine."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"sqlite:///{file}")
        self.committed: Committed = _nothing
        self._file = file
        self.is_prepared = False
        event.listen(self.engine.sync_engine, "connect", _hurry)

    async def prepare(self, preparations: Sequence[Prepare]) -> None:
        """What is prepared once is there, whoever starts again."""
        if self.is_prepared:
            return
        await super().prepare(list(dict.fromkeys(preparations)))
        self.is_prepared = True

    async def put_back(self, content: bytes | None) -> None:
        """Another database in place of this one: that of `content`, or an empty one."""
        await self.engine.dispose()
        for file in self._file.parent.glob(f"{self._file.name}*"):
            file.unlink()
        self.is_prepared = content is not None
        if content is not None:
            self._file.write_bytes(content)

    def content(self) -> bytes:
        """All of it, to be put back later."""
        with closing(sqlite3.connect(self._file)) as connection:
            return connection.serialize()

    async def purge(self, older_than: timedelta) -> int:
        """Nothing here is old."""
        return 0

    @asynccontextmanager
    async def claim(self, saga_id: str, step_name: str) -> AsyncIterator[Claim]:
        async with super().claim(saga_id, step_name) as claim:
            yield claim
        await self.committed([Key(saga_id, step_name)])

    @asynccontextmanager
    async def claim_all(
        self, keys: Collection[Key], *, is_divisible: bool
    ) -> AsyncIterator[Mapping[Key, SharedClaim]]:
        async with super().claim_all(keys, is_divisible=is_divisible) as claims:
            yield claims
        await self.committed(keys)

    @asynccontextmanager
    async def claim_new(self, keys: Collection[Key]) -> AsyncIterator[Mapping[Key, SharedClaim]]:
        async with super().claim_new(keys) as claims:
            yield claims
        await self.committed(keys)


def _watched(transaction: SqliteTransaction) -> Sequence[Decision]:
    """A list that grows with the decisions that it saves."""
    moved: list[Decision] = []
    save, insert = transaction.save, transaction.insert

    async def saving(decisions: Sequence[Decision]) -> None:
        moved.extend(each for each in decisions if each.must_save)
        await save(decisions)

    async def inserting(decisions: Sequence[Decision]) -> Collection[str]:
        moved.extend(decisions)
        return await insert(decisions)

    transaction.save = saving  # type: ignore[method-assign]  # of this one transaction
    transaction.insert = inserting  # type: ignore[method-assign]
    return moved


def _sent(delivery: Delivery) -> Outgoing:
    """The message as it was sent."""
    return Outgoing(
        exchange=delivery.exchange,
        routing_key=delivery.routing_key,
        type=delivery.type or "",
        body=delivery.body,
        headers=delivery.headers,
    )


async def _nothing(_: Collection[Key]) -> None:
    """Nobody wants to know."""


def _hurry(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")
