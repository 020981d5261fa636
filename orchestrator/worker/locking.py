"""Sagas that begin under semantic locks: what they ask for, and how they begin or wait.

Definitions without locks ask for nothing, and cost no statement.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from messaging.errors import DefinitionError
from orchestrator.backoff import retry_delay
from orchestrator.registry import Registry
from orchestrator.saga.locking import LockRequest, Standing, begin_under_locks
from orchestrator.saga.start import begin
from orchestrator.saga.state import Decision, Saga
from orchestrator.store.port import Transaction
from orchestrator.worker.intake import Arrival, saga_id_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _Wish(NamedTuple):
    """A saga that is to begin."""

    saga_id: str
    saga_type: str
    data: Mapping[str, Any]
    asked_at: datetime
    has_waited: bool = False  # then it waits for what it waited for, whatever is declared now


async def claim_for_due(
    transaction: Transaction, registry: Registry, due: Sequence[Saga]
) -> Mapping[str, Standing]:
    """By saga id, how those stand that are to begin and have locks."""
    wishes = [
        _Wish(saga.saga_id, saga.saga_type, saga.data, saga.created_at, saga.version > 0)
        for saga in due
        if saga.saga_type in registry.locking and not saga.steps and not saga.state.is_final
    ]
    return await _claim(transaction, registry, wishes, may_be_in_line=True)


async def claim_for_starts(
    transaction: Transaction,
    registry: Registry,
    arrivals: Sequence[Arrival],
    known: Collection[str],
) -> Mapping[str, Standing]:
    """The same for sagas that start by message; `known` are there already."""
    wishes: dict[str, _Wish] = {}
    for arrival in arrivals if registry.locking else ():
        start, saga_id = arrival.start, saga_id_of(arrival)
        if start and start.saga_type in registry.locking and saga_id not in known:
            wish = _Wish(saga_id, start.saga_type, start.data, transaction.now)
            wishes.setdefault(saga_id, wish)
    return await _claim(transaction, registry, list(wishes.values()), may_be_in_line=False)


async def let_go_of_unbegun(
    transaction: Transaction, standings: Mapping[str, Standing], begun: Collection[str]
) -> None:
    """What was claimed for starts that turned out to be none."""
    unbegun = standings.keys() - set(begun)
    if unbegun:
        await transaction.let_go(unbegun)


def begun(
    registry: Registry,
    saga: Saga,
    standing: Standing | None,
    *,
    now: datetime,
    cause: str | None = None,
    actor: str | None = None,
) -> Decision:
    """The saga as it begins, waits or is refused. Raises DefinitionError."""
    plan = registry.plan(saga.saga_type, saga.data)
    on_exhausted = registry.on_exhausted(saga.saga_type)
    if standing is None:
        if saga.saga_type in registry.locking:
            registry.locks(saga.saga_type, saga.data)  # says what is wrong with them
        return begin(
            saga,
            plan,
            on_exhausted=on_exhausted,
            now=now,
            delay=retry_delay,
            cause=cause,
            actor=actor,
        )
    return begin_under_locks(
        saga,
        plan,
        standing,
        on_exhausted=on_exhausted,
        now=now,
        delay=retry_delay,
        cause=cause,
        actor=actor,
    )


async def _claim(
    transaction: Transaction, registry: Registry, wishes: Sequence[_Wish], *, may_be_in_line: bool
) -> Mapping[str, Standing]:
    requests = [
        LockRequest(
            saga_id=wish.saga_id,
            saga_type=wish.saga_type,
            names=names,
            policy=registry.lock_policy(wish.saga_type),
            asked_at=wish.asked_at,
            place=(wish.asked_at - _EPOCH) // _MICROSECOND + number,
            is_in_line=may_be_in_line,
        )
        for number, wish in enumerate(wishes)
        if (names := _names_for(wish, registry)) or wish.has_waited
    ]
    return await transaction.claim(requests) if requests else {}


def _names_for(wish: _Wish, registry: Registry) -> tuple[str, ...]:
    """None for what its definition refuses: `begun` says why."""
    try:
        registry.plan(wish.saga_type, wish.data)
        return registry.locks(wish.saga_type, wish.data)
    except DefinitionError:
        return ()
