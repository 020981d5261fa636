"""What people do about dead letters: each in one transaction with who, when and why.

Reading is in `listing`. NotFound and Refused are the caller's to show (exit codes 3 and 4);
Unavailable when the database is away. The worker and the orchestrator do what was asked for:
what they need is in the database, and no connection to the broker is needed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from dlq_worker import letters
from dlq_worker.alerts import close_alert
from dlq_worker.letter import DeadLetter, Origin, Place
from dlq_worker.listing import check_number, no_such_letter
from dlq_worker.rows import StoredLetter
from dlq_worker.sending import exchange_for
from dlq_worker.statuses import AlertStatus, Status
from dlq_worker.storable import storable_text
from dlq_worker.tables import alerts
from dlq_worker.triage import (
    AnswerForParticipant,
    CallPerson,
    Recover,
    SendAgain,
    Wait,
    has_moved,
    triage,
)
from messaging.errors import NotFound, Refused, SagaError
from messaging.topology import Names
from orchestrator.backoff import retry_delay
from orchestrator.saga.decide import decide
from orchestrator.saga.state import (
    Decision,
    ResolveRequested,
    RetryRequested,
    Saga,
    Verdict,
)
from orchestrator.store import event_log
from orchestrator.store.database import DatabaseStore, DatabaseTransaction
from orchestrator.store.errors import StatementRejected

MAX_REASON: Final = 1000
_OF_STEP: Final = frozenset({Origin.COMPENSATION, Origin.FORWARD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of one request."""

    letter_id: int
    message: str


async def retry(
    store: DatabaseStore, letter_ids: Sequence[int], *, reason: str, by: str
) -> Sequence[Done]:
    """Try again what the letters are about: the step's command, or the rejected message.

    Each letter is a transaction of its own. Those that cannot be retried keep no other one
    back; they are raised together at the end, as NotFound if none of them exists.
    """
    reason, by = _cleaned(reason, by)
    done: list[Done] = []
    problems: list[SagaError] = []
    for letter_id in dict.fromkeys(letter_ids):
        try:
            done.append(await _retry_one(store, letter_id, reason, by))
        except (NotFound, Refused) as problem:
            problems.append(problem)
    if problems:
        raise _together(problems, done)
    return done


async def resolve(
    store: DatabaseStore,
    letter_id: int,
    *,
    reason: str,
    by: str,
    result: Mapping[str, Any] | None = None,
) -> Done:
    """A person says it is done: the compensation, or (with `result`) the step.

    The saga goes on from there: a worker's clock sends what comes next.
    """
    reason, by = _cleaned(reason, by)
    async with store.transaction() as transaction:
        stored = await _unclosed(transaction, letter_id)
        letter = stored.letter
        if letter.origin in _OF_STEP and letter.saga_id and letter.step_name:
            event = ResolveRequested(step=letter.step_name, reason=reason, actor=by, result=result)
            saga = await _decided(transaction, letter.saga_id, event)
            told = f"step {letter.step_name} is done; saga {saga.saga_id} is {saga.state}"
        else:
            await _refuse_if_awaited(transaction, stored, "resolved")
            told = f"dead letter {letter_id} is resolved"
        await letters.close(transaction, stored.id, Status.RESOLVED, by=by, reason=reason)
        await close_alert(transaction, stored.alert_key)
    return Done(letter_id=letter_id, message=told)


async def discard(store: DatabaseStore, letter_id: int, *, reason: str, by: str) -> Done:
    """A person says never mind. Refused while the saga waits for this letter."""
    reason, by = _cleaned(reason, by)
    async with store.transaction() as transaction:
        stored = await _unclosed(transaction, letter_id)
        await _refuse_if_awaited(transaction, stored, "discarded")
        await letters.close(transaction, stored.id, Status.DISCARDED, by=by, reason=reason)
        await close_alert(transaction, stored.alert_key)
    return Done(letter_id=letter_id, message=f"dead letter {letter_id} is discarded")


async def acknowledge(store: DatabaseStore, letter_id: int, *, by: str) -> Done:
    """Somebody is on it: the letter's alert is not repeated any more."""
    _, by = _cleaned("acknowledged", by)
    async with store.transaction() as transaction:
        stored = await _unclosed(transaction, letter_id)
        acknowledged = (
            sa.update(alerts)
            .where(alerts.c.key == stored.alert_key, alerts.c.status == AlertStatus.OPEN.value)
            .values(
                status=AlertStatus.ACKNOWLEDGED.value,
                acknowledged_by=by,
                acknowledged_at=transaction.now,
                next_send_at=None,
            )
        )
        if not (await transaction.execute(acknowledged)).rowcount:
            raise Refused(await _why_not_acknowledged(transaction, stored))
        await letters.note(transaction, stored.id, "acknowledged", by=by)
    return Done(letter_id=letter_id, message=f"the alert of dead letter {letter_id} is yours")


async def _why_not_acknowledged(transaction: DatabaseTransaction, stored: StoredLetter) -> str:
    by = sa.select(alerts.c.acknowledged_by).where(
        alerts.c.key == stored.alert_key, alerts.c.status == AlertStatus.ACKNOWLEDGED.value
    )
    earlier = (await transaction.execute(by)).scalar()
    if earlier is not None:
        return f"the alert of dead letter {stored.id} is acknowledged already, by {earlier}"
    return f"dead letter {stored.id} has no alert that is open; it can be worked on without one"


async def _retry_one(store: DatabaseStore, letter_id: int, reason: str, by: str) -> Done:
    async with store.transaction() as transaction:
        stored = await _unclosed(transaction, letter_id)
        letter = stored.letter
        if letter.origin in _OF_STEP and letter.saga_id and letter.step_name:
            event = RetryRequested(step=letter.step_name, reason=reason, actor=by)
            await _decided(transaction, letter.saga_id, event)
            await letters.change(transaction, stored.id, status=Status.REPLAYING.value)
            told = f"the orchestrator sends the command of step {letter.step_name} again"
        elif letter.origin is Origin.QUIET and letter.saga_id:
            told = await _ask_for_last_events(transaction, letter.saga_id, by=by, reason=reason)
            await letters.change(transaction, stored.id, status=Status.REPLAYING.value)
        else:
            _refuse_unsendable(stored)
            values = {"send_requested": True, "next_replay_at": transaction.now}
            await letters.change(transaction, stored.id, **values)
            told = f"the dlq worker sends it to {letter.queue} again"
        await letters.note(transaction, stored.id, "retried", by=by, reason=reason)
    return Done(letter_id=letter_id, message=told)


async def _ask_for_last_events(
    transaction: DatabaseTransaction, saga_id: str, *, by: str, reason: str
) -> str:
    """As `saga choreography replay` does."""
    events = await event_log.last_events(transaction, saga_id)
    if not events:
        raise Refused(f"saga {saga_id} is not in the recorder's log, or has ended")
    await event_log.ask_for_replay(transaction, saga_id, events, by=by, reason=reason)
    return f"the recorder sends the last events of saga {saga_id} again"


async def _unclosed(transaction: DatabaseTransaction, letter_id: int) -> StoredLetter:
    check_number(letter_id)
    stored = await letters.lock_letter(transaction, letter_id)
    if stored is None:
        raise no_such_letter(letter_id)
    if stored.status.is_closed:
        raise Refused(
            f"dead letter {letter_id} is {stored.status} already, by {stored.closed_by}: "
            f"{stored.closed_reason}"
        )
    return stored


async def _decided(
    transaction: DatabaseTransaction, saga_id: str, event: RetryRequested | ResolveRequested
) -> Saga:
    """The saga after the event; a worker's clock sends what follows. Raises Refused."""
    saga = (await transaction.lock([saga_id])).get(saga_id)
    if saga is None:
        raise Refused(f"saga {saga_id} is not in the database; discard the dead letter")
    decision: Decision = decide(saga, event, now=transaction.now, delay=retry_delay)
    if decision.verdict is Verdict.REFUSED:
        raise Refused(decision.refusal or f"saga {saga_id} does not allow it now")
    try:
        await transaction.save([decision])
    except StatementRejected as error:
        raise Refused(f"the database does not take it: {error}") from error
    await transaction.notify()
    return decision.saga


async def _refuse_if_awaited(
    transaction: DatabaseTransaction, stored: StoredLetter, word: str
) -> None:
    """A saga that waits for what the letter is about would wait for ever, or time out."""
    letter = stored.letter
    seen = await letters.look_around(transaction, letter)
    match triage(letter, seen.saga, seen.choreographed):
        case Recover() | AnswerForParticipant() | Wait():
            is_awaited = True
        case SendAgain():
            is_awaited = letter.place is Place.REPLIES and not has_moved(letter, seen.saga)
        case CallPerson():
            is_awaited = letter.origin is Origin.FORWARD and seen.saga is not None
        case _:
            is_awaited = False
    if is_awaited:
        raise Refused(
            f"saga {letter.saga_id} waits for what dead letter {stored.id} is about, so it cannot "
            f"be {word}; {_remedy(letter, stored.id)}"
        )


def _remedy(letter: DeadLetter, letter_id: int) -> str:
    if letter.origin in _OF_STEP:
        return f"use `saga dlq retry {letter_id}` or `saga dlq resolve {letter_id} --reason …`"
    return f"use `saga dlq retry {letter_id}`, or let the dlq worker go on"


def _refuse_unsendable(stored: StoredLetter) -> None:
    if exchange_for(Names(), stored.letter) is None:
        known = f"type {stored.letter.type or 'none'}, queue {stored.letter.queue or 'none'}"
        raise Refused(
            f"dead letter {stored.id} cannot be sent again ({known}): it came by no queue of ours, "
            "or was too large to keep; resolve or discard it"
        )


def _cleaned(reason: str, by: str) -> tuple[str, str]:
    """Both as they may be stored. Raises Refused if one is missing or too long."""
    reason, by = reason.strip(), by.strip()
    if not reason or not by:
        raise Refused("a reason and a name are needed: who changes this by hand, and why")
    if len(reason) > MAX_REASON:
        raise Refused(f"the reason has {len(reason)} characters; at most {MAX_REASON} are kept")
    return storable_text(reason), storable_text(by, 200)


def _together(problems: Sequence[SagaError], done: Sequence[Done]) -> SagaError:
    """One error for all, that also tells what was done."""
    kind: type[SagaError] = Refused
    if all(isinstance(problem, NotFound) for problem in problems) and not done:
        kind = NotFound
    told = "; ".join(str(problem) for problem in problems)
    if not done:
        return kind(told)
    retried = ", ".join(str(each.letter_id) for each in done)
    return kind(f"{told}; the others were retried: {retried}")
