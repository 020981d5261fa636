"""Repairs what is safe, each in a transaction with who and why. The orchestrator does the rest."""

from typing import assert_never

from dlq_worker import operations
from messaging.errors import NotFound, Refused
from orchestrator.backoff import retry_delay
from orchestrator.reconcile.findings import Finding, Kind
from orchestrator.reconcile.looking import open_sagas
from orchestrator.saga.decide import decide
from orchestrator.saga.requests import LossJudged, ReopenRequested
from orchestrator.saga.state import Event, Verdict
from orchestrator.store.database import DatabaseStore


async def repair(store: DatabaseStore, finding: Finding, *, reason: str, by: str) -> bool:
    """True if it is repaired; False if it was not safe, or is not so any more."""
    if not finding.is_safe:
        return False
    match finding.kind:
        case Kind.IN_DOUBT:
            event = LossJudged(is_lost=True, reason=reason, actor=by)
            return await _decided(store, finding.saga_id, event)
        case Kind.EFFECT_STANDS:
            opened = ReopenRequested(step=finding.step or "", reason=reason, actor=by)
            return await _decided(store, finding.saga_id, opened)
        case Kind.STALE_LETTERS:
            return await _closed(store, finding, reason=reason, by=by)
        case Kind.ENDED_BEFORE | Kind.UNKNOWN_SAGA | Kind.EFFECT_MISSING:
            return False
        case _:
            assert_never(finding.kind)


async def judge(store: DatabaseStore, *, is_lost: bool, reason: str, by: str) -> int:
    """Say of every open saga that something of it is lost; or of those in doubt that nothing is.

    How many there were.
    """
    event = LossJudged(is_lost=is_lost, reason=reason, actor=by)
    judged = [saga for saga in await open_sagas(store) if is_lost or saga.in_doubt]
    for saga in judged:
        await _decided(store, saga.saga_id, event)
    return len(judged)


async def _decided(store: DatabaseStore, saga_id: str, event: Event) -> bool:
    """The clock sends what follows."""
    async with store.transaction() as transaction:
        saga = (await transaction.lock([saga_id])).get(saga_id)
        is_settled = isinstance(event, LossJudged) and not event.is_lost
        if saga is None or (is_settled and not saga.in_doubt):
            return False
        decision = decide(saga, event, now=transaction.now, delay=retry_delay)
        await transaction.save([decision])
        await transaction.notify()
        return decision.verdict is Verdict.ADVANCED


async def _closed(store: DatabaseStore, finding: Finding, *, reason: str, by: str) -> bool:
    closed = 0
    for number in finding.letters:
        try:
            await operations.discard(store, number, reason=reason, by=by)
        except (NotFound, Refused):
            continue
        closed += 1
    return closed == len(finding.letters)
