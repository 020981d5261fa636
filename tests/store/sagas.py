"""Sagas to put into a store, and short ways to do it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from orchestrator.saga.plan import OnExhausted, OnTimeout, PlannedStep, RetryPolicy
from orchestrator.saga.state import (
    Decision,
    Direction,
    Failure,
    Outbound,
    OutboundKind,
    Saga,
    SagaState,
    Step,
    StepStatus,
    Transition,
    Verdict,
)
from orchestrator.store.database import DatabaseStore
from orchestrator.store.port import Transaction

MINUTE = timedelta(minutes=1)


def planned(name: str = "pay", stage: int = 0) -> PlannedStep:
    return PlannedStep(
        name=name,
        stage=stage,
        action=f"TestService.Do-{name}",
        compensation=f"TestService.Undo-{name}",
        timeout=timedelta(minutes=5),
    )


def running(saga_id: str, at: datetime, **changes: Any) -> Saga:
    """A planned saga of one step, with nothing to wake it."""
    values = {
        "saga_type": "Order",
        "version": 1,
        "input_digest": "digest",
        "data": {"order_id": saga_id},
        "steps": (Step(plan=planned()),),
        "created_at": at,
        "updated_at": at,
    }
    return Saga(saga_id=saga_id, **{**values, **changes})


def requested(saga_id: str, at: datetime, saga_type: str = "Order") -> Saga:
    """What a client stores: no steps yet, and due at once."""
    return running(saga_id, at, saga_type=saga_type, version=0, steps=(), resend_at=at)


def line(saga: Saga, at: datetime, **changes: Any) -> Transition:
    values = {"version": saga.version, "at": at, "step": None, "before": "started"}
    return Transition(**{**values, "after": saga.state.value, **changes})


def decided(saga: Saga, *transitions: Transition) -> Decision:
    return Decision(
        saga=saga, verdict=Verdict.ADVANCED, transitions=transitions, must_save=True, send=()
    )


def advanced(saga: Saga, at: datetime, **changes: Any) -> Decision:
    """The saga one version later, with its line of history."""
    later = replace(saga, version=saga.version + 1, updated_at=at, **changes)
    return decided(later, line(later, at))


async def insert(store: DatabaseStore, *sagas: Saga) -> None:
    async with store.transaction() as transaction:
        assert not await transaction.insert([decided(saga) for saga in sagas])


async def load(store: DatabaseStore, saga_id: str) -> Saga | None:
    async with store.transaction() as transaction:
        saga = (await transaction.lock([saga_id])).get(saga_id)
        return saga and as_stored(saga)


def as_stored(saga: Saga) -> Saga:
    """Without what the store says of the present: the epoch, and the doubt that it brings."""
    return replace(saga, epochs=saga.epochs[:-1], in_doubt=False)


async def now(store: DatabaseStore) -> datetime:
    async with store.transaction() as transaction:
        return transaction.now


async def until_one_waits(store: DatabaseStore) -> None:
    """For a lock in this database."""
    waits = """
        SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE NOT granted AND datname = current_database()
    """
    async with asyncio.timeout(10), store.reading() as connection:
        while not (await connection.exec_driver_sql(waits)).scalar():
            await asyncio.sleep(0)


async def insert_due(transaction: Transaction, *saga_ids: str) -> None:
    """Sagas that have been due for a second, in the order given."""
    first = transaction.now - timedelta(seconds=1)
    await transaction.insert(
        [
            decided(running(saga_id, first, resend_at=first + timedelta(milliseconds=number)))
            for number, saga_id in enumerate(saga_ids)
        ]
    )


# --- any saga --------------------------------------------------------------------------

_ZONES = (UTC, timezone(timedelta(hours=-3, minutes=-30)))
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_MOMENTS = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2900, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from(_ZONES),
)
_DURATIONS = st.timedeltas(timedelta(0), timedelta(days=400))
_COUNTS = st.integers(0, 10**6)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_DATA: st.SearchStrategy[Mapping[str, Any]] = st.dictionaries(_TEXT, _JSON, max_size=4)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_POLICIES = st.builds(
    RetryPolicy,
    max_attempts=_COUNTS,
    initial=_DURATIONS,
    maximum=_DURATIONS,
    multiplier=st.floats(0, 100),
    jitter=st.booleans(),
)
_PLANS = st.builds(
    PlannedStep,
    name=_TEXT,
    stage=st.integers(0, 9),
    action=_TEXT,
    compensation=_maybe(_TEXT),
    timeout=_DURATIONS,
    retry=_POLICIES,
    compensation_retry=_POLICIES,
    on_timeout=st.sampled_from(OnTimeout),
    payload=_maybe(st.lists(_TEXT, max_size=2).map(tuple)),
    pivot=st.booleans(),
)
_STEPS = st.builds(
    Step,
    plan=_PLANS,
    status=st.sampled_from(StepStatus),
    attempts=_COUNTS,
    compensation_attempts=_COUNTS,
    forgiven=_COUNTS,
    effect_unknown=st.booleans(),
    result=_maybe(_DATA),
    error=_maybe(_TEXT),
    deadline=_maybe(_MOMENTS),
    retry_at=_maybe(_MOMENTS),
    unroutable=st.booleans(),
    started_at=_maybe(_MOMENTS),
    completed_at=_maybe(_MOMENTS),
    compensation_started_at=_maybe(_MOMENTS),
    compensated_at=_maybe(_MOMENTS),
)
_OUTBOUND = st.builds(
    Outbound,
    kind=st.sampled_from(OutboundKind),
    destination=_TEXT,
    body=_TEXT,
    cause=_maybe(_TEXT),
    step=_maybe(_TEXT),
    direction=_maybe(st.sampled_from(Direction)),
    attempt=_maybe(_COUNTS),
    deadline=_maybe(_MOMENTS),
    reason=_maybe(_TEXT),
    error=_maybe(_TEXT),
)
_FIELDS: Mapping[str, st.SearchStrategy[Any]] = {
    "state": st.sampled_from(SagaState),
    "version": st.integers(0, 2**40),
    "data": _DATA,
    "steps": st.lists(_STEPS, max_size=3).map(tuple),
    "on_exhausted": st.sampled_from(OnExhausted),
    "cancel_reason": _maybe(_TEXT),
    "first_failure": _maybe(st.builds(Failure, step=_maybe(_TEXT), error=_TEXT, at=_MOMENTS)),
    "outbound": st.lists(_OUTBOUND, max_size=2).map(tuple),
    "resend_at": _maybe(_MOMENTS),
    "traceparent": _maybe(_TEXT),
    "created_at": _MOMENTS,
    "updated_at": _MOMENTS,
    "ended_at": _maybe(_MOMENTS),
}
any_saga = st.builds(
    Saga, saga_id=st.uuids().map(str), saga_type=_TEXT, input_digest=_TEXT, **_FIELDS
)


@st.composite
def any_save(draw: st.DrawFn) -> tuple[Saga, Saga]:
    """A saga, and what may be saved over it: its identity and its plan never change."""
    before = draw(any_saga)
    after = draw(any_saga)
    if before.steps:
        plans = [step.plan for step in before.steps]
        steps = tuple(replace(draw(_STEPS), plan=plan) for plan in plans)
    else:
        steps = after.steps
    kept = {
        name: getattr(before, name)
        for name in ("saga_id", "saga_type", "input_digest", "created_at")
    }
    return before, replace(after, steps=steps, **kept)
