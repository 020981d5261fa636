"""Sagas as rows of plain values, and back. Pure; nothing here knows a database.

JSON columns travel as text; `forms` says what it looks like. `plan` is a list of all fields
of the PlannedSteps; `steps` runs parallel to it and leaves out what is None, 0 or False;
`outbound` and `first_failure` leave out what is None.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from orchestrator.saga.changed import changed, derived, keep_derived
from orchestrator.saga.plan import OnExhausted, PlannedStep
from orchestrator.saga.state import (
    Decision,
    Failure,
    Outbound,
    Saga,
    SagaState,
    Step,
)
from orchestrator.saga.written import Written
from orchestrator.store.errors import StatementRejected
from orchestrator.store.forms import FAILURE, OUTBOUND, PLANNED, STEP, data_text
from orchestrator.store.hot_forms import outbound_text, step_text

_UNTOUCHED: Final = {"status": "pending"}  # a step of which there is no more to say


class SagaRow(NamedTuple):
    """The columns of `sagas`, in the order of the table."""

    saga_id: str
    saga_type: str
    state: str
    version: int
    input_digest: str
    data: str | None  # None when saving: unchanged
    plan: str | None  # None when saving: unchanged; in the table: not planned yet
    steps: str
    on_exhausted: str
    cancel_reason: str | None
    first_failure: str | None
    outbound: str | None
    resend_at: datetime | None
    wake_at: datetime | None
    traceparent: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    epochs: str | None


class HistoryRow(NamedTuple):
    """The columns of `saga_history`, in the order of the table: after the id, a Transition's."""

    saga_id: str
    version: int
    at: datetime
    step: str | None
    before: str
    after: str
    cause: str | None
    actor: str | None
    attempt: int | None
    note: str | None
    error: str | None


def row_of(saga: Saga, *, known: Saga | None = None) -> SagaRow:
    """The row to store; without the plan and the data that `known`, the stored saga, has."""
    return SagaRow(
        saga.saga_id,
        saga.saga_type,
        saga.state.value,
        saga.version,
        saga.input_digest,
        None if known and known.data is saga.data else data_text(saga.data),
        None if known and known.steps else _plan_text(saga.steps),
        _array(map(_step_text, saga.steps)),
        saga.on_exhausted.value,
        saga.cancel_reason,
        FAILURE.write(saga.first_failure) if saga.first_failure else None,
        _array(map(outbound_text, saga.outbound)) if saga.outbound else None,
        saga.resend_at,
        saga.wake_at,
        saga.traceparent,
        saga.created_at,
        saga.updated_at,
        saga.ended_at,
        " ".join(saga.epochs) or None,
    )


def history_of(decisions: Iterable[Decision]) -> list[HistoryRow]:
    """The lines that these decisions append to the history."""
    return [
        HistoryRow(decision.saga.saga_id, *line)
        for decision in decisions
        for line in decision.transitions
    ]


def saga_from(row: SagaRow, *, epoch: str | None = None) -> Saga:
    """The saga of a row that is read in this epoch of the database, which may put it in doubt.

    Raises StatementRejected, naming it, if it cannot be read.
    """
    try:
        return in_epoch(_saga_from(row), epoch)
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise StatementRejected(
            f"the row of saga {row.saga_id!r} cannot be read ({type(error).__name__}: {error}); "
            "a newer release may have written it: run that one, or repair the row"
        ) from error


def _saga_from(row: SagaRow) -> Saga:
    planned = _untouched_from(row.plan) if row.plan else ()
    return Saga(
        saga_id=row.saga_id,
        saga_type=row.saga_type,
        state=SagaState(row.state),
        version=row.version,
        input_digest=row.input_digest,
        data=_data_from(row.data or "{}"),
        steps=tuple(
            step if values == _UNTOUCHED else changed(step, **STEP.read(values))
            for step, values in zip(planned, json.loads(row.steps), strict=True)
        ),
        on_exhausted=OnExhausted(row.on_exhausted),
        cancel_reason=row.cancel_reason,
        first_failure=failure_from(row.first_failure),
        outbound=_outbound_from(row.outbound),
        resend_at=row.resend_at,
        traceparent=row.traceparent,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        epochs=tuple((row.epochs or "").split()),
    )


def _data_from(text: str) -> Mapping[str, Any]:
    return Written(json.loads(text), text)


def in_epoch(saga: Saga, epoch: str | None) -> Saga:
    """A row of before epochs were written is believed, and so is the end of a saga."""
    if epoch is None or saga.epoch == epoch:
        return saga
    in_doubt = bool(saga.epochs) and bool(saga.steps) and not saga.state.is_final
    lived = tuple(each for each in saga.epochs if each != epoch)
    return changed(saga, epochs=(*lived, epoch), in_doubt=in_doubt)


def _array(objects: Iterable[str]) -> str:
    return f"[{','.join(objects)}]"


def _step_text(step: Step) -> str:
    """Written once: a saga that is remembered keeps the texts of the steps that do not move."""
    text: str | None = derived(step)
    if text is None:
        text = step_text(step)
        keep_derived(step, text)
    return text


def _plan_text(steps: tuple[Step, ...]) -> str | None:
    return _text_of(tuple(step.plan for step in steps)) if steps else None


@lru_cache(maxsize=512)
def _text_of(plan: tuple[PlannedStep, ...]) -> str:
    """Cached: sagas of one type have few plans among them."""
    return PLANNED.write_all(plan)


@lru_cache(maxsize=512)
def _untouched_from(text: str) -> tuple[Step, ...]:
    """The plan's steps before anything has happened. Cached: sagas of one type have few plans."""
    plan = [{"compensation": None, **PLANNED.read(values)} for values in json.loads(text)]
    return tuple(Step(plan=PlannedStep(**values)) for values in plan)


def failure_from(text: str | None) -> Failure | None:
    return Failure(**{"step": None, **FAILURE.read(json.loads(text))}) if text else None


def _outbound_from(text: str | None) -> tuple[Outbound, ...]:
    if not text:
        return ()
    return tuple(
        Outbound(**{"cause": None, **OUTBOUND.read(values)}) for values in json.loads(text)
    )
