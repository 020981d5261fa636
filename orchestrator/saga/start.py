"""How a saga begins: with its plan and its first commands, or failed for want of a plan."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from orchestrator.saga.draft import SEND_GUARD, Delay, Draft
from orchestrator.saga.flow import proceed
from orchestrator.saga.plan import OnExhausted, PlannedStep
from orchestrator.saga.state import Decision, Saga, SagaState, Step
from orchestrator.saga.written import Written


def requested(
    *,
    saga_id: str,
    saga_type: str,
    data: Mapping[str, Any],
    input_digest: str,
    now: datetime,
    traceparent: str | None = None,
    epoch: str | None = None,
) -> Saga:
    """A saga that is asked for and not planned yet: due at once."""
    return Saga(
        saga_id=saga_id,
        saga_type=saga_type,
        data=Written(data),
        input_digest=input_digest,
        resend_at=now,
        traceparent=traceparent,
        epochs=(epoch,) if epoch else (),
        created_at=now,
        updated_at=now,
    )


def begin(
    saga: Saga,
    plan: Sequence[PlannedStep],
    *,
    on_exhausted: OnExhausted,
    now: datetime,
    delay: Delay,
    cause: str | None = None,
    actor: str | None = None,
) -> Decision:
    """Plan a requested saga and send its first commands.

    `cause` is the identity of the start message; without one the clock guards the sending.
    """
    steps = tuple([Step(plan=planned) for planned in plan])
    draft = Draft(saga, now=now, delay=delay, by="clock", message=cause, actor=actor)
    draft.change(steps=steps, on_exhausted=on_exhausted, resend_at=None)
    # Where it was only asked for, it may have begun all the same: of that life it knows nothing.
    draft.change(epochs=saga.epochs[-1:])
    draft.note(None, "started")
    proceed(draft)
    if cause is None:
        draft.guard(SEND_GUARD)
    return draft.decision()


def refuse(
    saga: Saga,
    error: str,
    *,
    now: datetime,
    delay: Delay,
    note: str = "could not be planned",
    cause: str | None = None,
    actor: str | None = None,
) -> Decision:
    """Fail a requested saga that cannot be planned, or does not get its locks."""
    draft = Draft(saga, now=now, delay=delay, by="clock", message=cause, actor=actor)
    draft.change(resend_at=None)
    draft.fail_first(None, error)
    draft.note(None, note, error=error)
    draft.turn(SagaState.COMPENSATING)
    proceed(draft)
    if cause is None:
        draft.guard(timedelta(0))
    return draft.decision()
