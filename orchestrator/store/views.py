"""What people and scripts are shown of a saga (CONTRACT §5), as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from orchestrator.saga.plan import PlannedStep
from orchestrator.saga.state import Failure, Saga, Step
from orchestrator.store.rows import HistoryRow


class _Shown:
    """A value with a stable JSON form: its fields, and moments as ISO 8601."""

    def to_json(self) -> dict[str, Any]:
        named = fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
        return {field.name: _json(getattr(self, field.name)) for field in named}


def _json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _Shown():
            return value.to_json()
        case tuple():
            return [_json(each) for each in value]
        case _:
            return value


@dataclass(frozen=True)
class FailureView(_Shown):
    step: str | None  # None: cancelled, or it could not be planned
    error: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class SagaSummary(_Shown):
    """One line of a list."""

    saga_id: str
    saga_type: str
    state: str
    version: int
    first_failure: FailureView | None
    cancel_reason: str | None
    is_stuck: bool
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    wake_at: datetime | None
    waits_for: str | None = None  # a lock


@dataclass(frozen=True, kw_only=True)
class LockView(_Shown):
    """A lock that a saga holds or waits for."""

    name: str
    is_held: bool
    since: datetime  # that it holds it, or waits
    holder: str | None  # who has it, while this one waits
    ahead: int  # how many others wait before it


@dataclass(frozen=True, kw_only=True)
class StepView(_Shown):
    name: str
    status: str
    stage: int
    action: str
    compensation: str | None
    attempts: int
    compensation_attempts: int
    forgiven: int
    error: str | None
    effect_unknown: bool
    unroutable: bool
    pivot: bool
    result: Mapping[str, Any] | None
    timeout: timedelta
    deadline: datetime | None
    retry_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    compensation_started_at: datetime | None
    compensated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class HistoryLine(_Shown):
    """One transition; `step` None: the saga's own state."""

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

    def to_json(self) -> dict[str, Any]:
        """`before` and `after` go by the contract's names, `from` and `to`."""
        renamed = {"before": "from", "after": "to"}
        return {renamed.get(name, name): value for name, value in super().to_json().items()}


@dataclass(frozen=True, kw_only=True)
class SagaView(_Shown):
    """All there is to know of one saga."""

    saga_id: str
    saga_type: str
    state: str
    version: int
    data: Mapping[str, Any]
    steps: tuple[StepView, ...]
    history: tuple[HistoryLine, ...]
    first_failure: FailureView | None
    cancel_reason: str | None
    on_exhausted: str
    owes: tuple[str, ...]  # destinations of the messages that may have to be sent again
    traceparent: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    wake_at: datetime | None
    locks: tuple[LockView, ...] = ()


def view_of(
    saga: Saga, history: tuple[HistoryLine, ...], locks: tuple[LockView, ...] = ()
) -> SagaView:
    return SagaView(
        saga_id=saga.saga_id,
        saga_type=saga.saga_type,
        state=saga.state.value,
        version=saga.version,
        data=saga.data,
        steps=tuple(_step_view(step, step.plan) for step in saga.steps),
        history=history,
        first_failure=failure_view(saga.first_failure),
        cancel_reason=saga.cancel_reason,
        on_exhausted=saga.on_exhausted.value,
        owes=tuple(outbound.destination for outbound in saga.outbound),
        traceparent=saga.traceparent,
        created_at=saga.created_at,
        updated_at=saga.updated_at,
        ended_at=saga.ended_at,
        wake_at=saga.wake_at,
        locks=locks,
    )


def failure_view(failure: Failure | None) -> FailureView | None:
    return FailureView(failure.step, failure.error, failure.at) if failure else None


def line_of(row: HistoryRow) -> HistoryLine:
    values = row._asdict()
    del values["saga_id"]
    return HistoryLine(**values)


def _step_view(step: Step, plan: PlannedStep) -> StepView:
    return StepView(
        name=plan.name,
        status=step.status.value,
        stage=plan.stage,
        action=plan.action,
        compensation=plan.compensation,
        attempts=step.attempts,
        compensation_attempts=step.compensation_attempts,
        forgiven=step.forgiven,
        error=step.error,
        effect_unknown=step.effect_unknown,
        unroutable=step.unroutable,
        pivot=plan.pivot,
        result=step.result,
        timeout=plan.timeout,
        deadline=step.deadline,
        retry_at=step.retry_at,
        started_at=step.started_at,
        completed_at=step.completed_at,
        compensation_started_at=step.compensation_started_at,
        compensated_at=step.compensated_at,
    )
