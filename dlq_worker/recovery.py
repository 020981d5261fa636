"""Performing what is planned for each letter: publish, call a person, or close it.

Every step is durable: the letter is leased, the message published and confirmed, and then it
is counted. A crash in between publishes once more, under the same command id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, assert_never

from chassis.facts import Noticed, Observe
from chassis.failpoints import Failpoint, reach
from dlq_worker import letters
from dlq_worker.alerts import call_person, close_alert
from dlq_worker.planning import (
    Alert,
    Answer,
    Close,
    LookAgain,
    Repeat,
    Replay,
    ReplayPolicy,
    plan,
)
from dlq_worker.rows import StoredLetter
from dlq_worker.sending import repetition_of, replay_of
from dlq_worker.statuses import Severity, Status
from dlq_worker.triage import SendAgain, SendLater, triage
from messaging import codec
from messaging.errors import SagaError, Unavailable
from messaging.port import Broker, Outgoing, Receipt
from messaging.topology import Names
from orchestrator.saga.state import Saga
from orchestrator.store.database import DatabaseStore, DatabaseTransaction

_LOOKED_AT: Final = 100  # letters in one go
_LEASE: Final = timedelta(seconds=30)
_UNSENDABLE: Final = Alert(
    "it cannot be sent again: it was not kept whole, or nothing asks for it", Severity.CRITICAL
)
_TROUBLE: Final = timedelta(minutes=1)  # before a letter that cannot be worked on is tried again


@dataclass(frozen=True, slots=True)
class _Errand:
    """A message to publish about a leased letter."""

    stored: StoredLetter
    message: Outgoing
    action: str
    is_closing: bool = False  # nothing will tell what became of it


class Recovery:
    """Looks at the letters that are due."""

    def __init__(
        self,
        broker: Broker,
        store: DatabaseStore,
        names: Names,
        *,
        policy: ReplayPolicy,
        observe: Observe,
        on_alert: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._store = store
        self._names = names
        self._policy = policy
        self._observe = observe
        self._on_alert = on_alert

    async def look(self) -> bool:
        """Work on every letter that is due; True if there may be more."""
        due = await letters.due_letters(self._store, _LOOKED_AT)
        looks = [await self._look_at(letter_id) for letter_id in due]
        errands = [errand for errand in looks if isinstance(errand, _Errand)]
        if errands:
            await self._run(errands)
        return len(due) == _LOOKED_AT and any(looks)

    async def _look_at(self, letter_id: int) -> "_Errand | bool":
        """What there is to publish about it, or whether it was worked on at all."""
        try:
            async with self._store.transaction() as transaction:
                stored = await letters.lock_due_letter(transaction, letter_id)
                if stored is None:
                    return False
                errand = await self._work_on(transaction, stored)
                await reach(Failpoint.DLQ_LOOK_BEFORE_COMMIT)
        except Unavailable:
            raise
        except SagaError as error:
            await self._postpone(letter_id, error)
            return False
        await reach(Failpoint.DLQ_LOOK_AFTER_COMMIT)
        return errand or True

    async def _work_on(
        self, transaction: DatabaseTransaction, stored: StoredLetter
    ) -> _Errand | None:
        seen = await letters.look_around(transaction, stored.letter)
        verdict = triage(stored.letter, seen.saga, seen.choreographed)
        step = plan(stored, verdict, seen.saga, self._policy, transaction.now)
        match step:
            case Replay() | Answer() | Repeat():
                message = self._message(stored, step, seen.saga)
                if message is not None:
                    await _lease(transaction, stored, seen)
                    is_closing = stored.send_requested and not isinstance(
                        verdict, SendAgain | SendLater
                    )
                    return _Errand(stored, message, _action(step), is_closing)
                await letters.change(transaction, stored.id, send_requested=False)
                await self._call_person(transaction, stored, seen, _UNSENDABLE)
            case LookAgain():
                await letters.follow(
                    transaction, stored.id, seen, status=step.status, look_at=step.at
                )
            case Alert():
                await self._call_person(transaction, stored, seen, step)
            case Close():
                await self._close(transaction, stored, step)
            case _:
                assert_never(step)
        return None

    async def _call_person(
        self,
        transaction: DatabaseTransaction,
        stored: StoredLetter,
        seen: letters.Seen,
        alert: Alert,
    ) -> None:
        await letters.follow(transaction, stored.id, seen, status=Status.OPEN, look_at=None)
        await call_person(transaction, stored, alert.why, alert.severity)
        self._on_alert()

    async def _close(
        self, transaction: DatabaseTransaction, stored: StoredLetter, closing: Close
    ) -> None:
        by = letters.WORKER
        await letters.close(transaction, stored.id, closing.status, by=by, reason=closing.why)
        await close_alert(transaction, stored.alert_key)
        self._on_alert()

    def _message(
        self, stored: StoredLetter, step: Replay | Answer | Repeat, saga: Saga | None
    ) -> Outgoing | None:
        match step:
            case Replay():
                return replay_of(self._names, stored, saga) if saga else None
            case Answer():
                return codec.encode_reply(self._names, step.reply)
            case Repeat():
                return repetition_of(self._names, stored.letter)
            case _:
                assert_never(step)

    async def _run(self, errands: list[_Errand]) -> None:
        await reach(Failpoint.DLQ_BEFORE_PUBLISH)
        receipts = await self._broker.publish([errand.message for errand in errands])
        await reach(Failpoint.DLQ_AFTER_PUBLISH)
        for errand, receipt in zip(errands, receipts, strict=True):
            await self._record(errand, receipt)
            await reach(Failpoint.DLQ_AFTER_MARK)

    async def _record(self, errand: _Errand, receipt: Receipt) -> None:
        """Count what was sent, unless somebody has changed the letter meanwhile."""
        async with self._store.transaction() as transaction:
            stored = await letters.lock_letter(transaction, errand.stored.id)
            if stored is None or not _is_as_it_was(stored, errand.stored):
                return
            if receipt is Receipt.UNKNOWN:
                look_at = transaction.now + self._policy.base
                await letters.change(transaction, stored.id, next_replay_at=look_at)
                return
            await self._count(transaction, stored, errand, receipt)

    async def _count(
        self,
        transaction: DatabaseTransaction,
        stored: StoredLetter,
        errand: _Errand,
        receipt: Receipt,
    ) -> None:
        where = errand.message.routing_key
        is_lost = receipt is Receipt.UNROUTABLE
        told = f"no queue is bound for {where}" if is_lost else where
        await letters.note(transaction, stored.id, errand.action, reason=told)
        await letters.change(
            transaction,
            stored.id,
            status=Status.REPLAYING,
            replays=stored.replays + 1,
            last_replay_at=transaction.now,
            next_replay_at=transaction.now,
            send_requested=False,
        )
        if errand.is_closing and not is_lost:
            why = "sent again by hand; it reopens if it comes back"
            await self._close(transaction, stored, Close(Status.RESOLVED, why))

    async def _postpone(self, letter_id: int, error: SagaError) -> None:
        details = {"dead_letter": letter_id, "problem": str(error)}
        message = "a dead letter could not be worked on; it is tried again in a minute"
        self._observe(Noticed(level="error", message=message, details=details))
        async with self._store.transaction() as transaction:
            look_at = transaction.now + _TROUBLE
            await letters.change(transaction, letter_id, next_replay_at=look_at)


async def _lease(
    transaction: DatabaseTransaction, stored: StoredLetter, seen: letters.Seen
) -> None:
    """Nobody else takes the letter for as long as publishing may take."""
    look_at = transaction.now + _LEASE
    await letters.follow(transaction, stored.id, seen, status=stored.status, look_at=look_at)


def _action(step: Replay | Answer | Repeat) -> str:
    match step:
        case Replay():
            return "replayed"
        case Answer():
            return "answered"
        case Repeat():
            return "sent again"
        case _:
            assert_never(step)


def _is_as_it_was(now: StoredLetter, before: StoredLetter) -> bool:
    return (
        not now.status.is_closed
        and now.replays == before.replays
        and now.times_seen == before.times_seen
    )
