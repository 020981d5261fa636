"""From the dead-letter queue to the database: store, commit, and only then acknowledge.

Nothing here requeues or browses: every return of a message costs one of its deliveries.
"""

from collections.abc import Callable, Sequence

from chassis.facts import DeadLettered, Noticed, Observe
from chassis.failpoints import Failpoint, reach
from chassis.pacing import Pace
from chassis.receiving import receiving
from dlq_worker.letter import DeadLetter, bare_letter, read_letter
from dlq_worker.letters import keep
from messaging.port import Broker, Delivery
from messaging.topology import Names
from orchestrator.store.database import DatabaseStore
from orchestrator.store.errors import StatementRejected


class Intake:
    """Takes dead letters in. While the database is away, what has arrived is held."""

    def __init__(
        self,
        broker: Broker,
        store: DatabaseStore,
        names: Names,
        *,
        prefetch: int,
        observe: Observe,
        on_kept: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._store = store
        self._names = names
        self._prefetch = prefetch
        self._observe = observe
        self._on_kept = on_kept

    async def run(self, pace: Pace) -> None:
        consumer = await self._broker.consume(self._names.dead_letters, prefetch=self._prefetch)
        try:
            async with receiving(consumer, pace.stopping) as receive:
                while deliveries := await receive(self._prefetch):
                    if await self._take(deliveries, pace):
                        await reach(Failpoint.DLQ_BEFORE_ACK)
                        await consumer.ack(deliveries)
                        self._on_kept()
        finally:
            await consumer.close()

    async def _take(self, deliveries: Sequence[Delivery], pace: Pace) -> bool:
        """Store them all, however long the database takes; False if we are to stop before."""
        return await pace.until_done(lambda: self._store_all(deliveries))

    async def _store_all(self, deliveries: Sequence[Delivery]) -> None:
        """One transaction; if the database refuses it, one for each letter."""
        try:
            await self._store_together(deliveries)
        except StatementRejected:
            for delivery in deliveries:
                await self._store_alone(delivery)

    async def _store_together(self, deliveries: Sequence[Delivery]) -> None:
        letters = [(read_letter(each, self._names), each.redelivered) for each in deliveries]
        letters.sort(key=_key)  # as everywhere: two workers must not deadlock
        new: list[DeadLetter] = []
        async with self._store.transaction() as transaction:
            for letter, is_repeated in letters:
                if await keep(transaction, letter, is_repeated=is_repeated) is not None:
                    new.append(letter)
            await reach(Failpoint.DLQ_INTAKE_BEFORE_COMMIT)
        await reach(Failpoint.DLQ_INTAKE_AFTER_COMMIT)
        for letter in new:
            self._report(letter)

    async def _store_alone(self, delivery: Delivery) -> None:
        """The letter, or its bare bytes if the database takes nothing else of it."""
        try:
            await self._store_together([delivery])
        except StatementRejected as error:
            details = {"message_id": delivery.message_id, "problem": str(error)}
            message = "a dead letter could be kept as bare bytes only"
            self._observe(Noticed(level="error", message=message, details=details))
            letter = bare_letter(delivery)
            async with self._store.transaction() as transaction:
                await keep(transaction, letter, is_repeated=delivery.redelivered)
            self._report(letter)

    def _report(self, letter: DeadLetter) -> None:
        fact = DeadLettered(
            reason=letter.reason,
            saga_id=letter.saga_id,
            saga_type=letter.saga_type,
            step=letter.step_name,
            error=letter.error,
        )
        self._observe(fact)


def _key(item: tuple[DeadLetter, bool]) -> str:
    return item[0].key
