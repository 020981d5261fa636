"""The moves a step can make: each writes its history and the messages that go with it."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.saga.changed import changed
from orchestrator.saga.draft import Draft
from orchestrator.saga.outbound import command_of, dead_letter_of, event_of
from orchestrator.saga.state import Direction, Outbound, OutboundKind, Step, StepStatus
from orchestrator.saga.written import Written, json_of, merged

# The same as in the contract, which the core does not import.
RESERVED_KEYS: Final = frozenset({"saga_id", "step_name", "original_result"})
MAX_DATA_BYTES: Final = 1024 * 1024


def send_action(draft: Draft, step: Step, note: str | None = None) -> None:
    """Ask for the step."""
    deadline = draft.now + step.plan.timeout
    sent = draft.move(
        step,
        StepStatus.EXECUTING,
        note,
        attempts=step.attempts + 1,
        deadline=deadline,
        retry_at=None,
        unroutable=False,
        started_at=step.started_at or draft.now,
    )
    draft.owe(
        command_of(draft.saga, sent, Direction.ACTION, deadline=deadline, cause=draft.message)
    )


def send_compensation(draft: Draft, step: Step, note: str | None = None) -> None:
    """Ask to undo the step. What was forgiven of its action does not count any more."""
    deadline = draft.now + step.plan.timeout
    sent = draft.move(
        step,
        StepStatus.COMPENSATING,
        note,
        compensation_attempts=step.compensation_attempts + 1,
        forgiven=step.forgiven if step.compensation_attempts else 0,
        deadline=deadline,
        retry_at=None,
        unroutable=False,
        compensation_started_at=step.compensation_started_at or draft.now,
    )
    draft.owe(
        command_of(draft.saga, sent, Direction.COMPENSATION, deadline=deadline, cause=draft.message)
    )


def send_next_attempt(draft: Draft, step: Step, note: str) -> None:
    """Send the command again, in whichever direction the step is going."""
    if step.status in {StepStatus.COMPENSATING, StepStatus.COMPENSATION_FAILED}:
        send_compensation(draft, step, note)
    else:
        send_action(draft, step, note)


def complete(
    draft: Draft, step: Step, result: Mapping[str, Any], note: str | None = None
) -> str | None:
    """The action is done: merge its result into the data. Returns why it cannot, if so."""
    kept = own_result(draft, result)
    data = merged(draft.saga.data, kept) if kept else draft.saga.data
    size = _bytes_of(json_of(data)) if kept else 0
    if size > MAX_DATA_BYTES:
        return f"with its result the saga's data would be {size} bytes, more than {MAX_DATA_BYTES}"
    draft.move(
        step,
        StepStatus.COMPLETED,
        note,
        result=kept,
        error=None,
        deadline=None,
        retry_at=None,
        unroutable=False,
        completed_at=draft.now,
    )
    draft.change(data=data)
    return None


def own_result(draft: Draft, result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result without reserved keys; those are reported."""
    draft.dropped_keys = RESERVED_KEYS.intersection(result)
    if not draft.dropped_keys:
        return Written(result)
    return Written({key: value for key, value in result.items() if key not in RESERVED_KEYS})


def _bytes_of(text: str) -> int:
    """How many it has in UTF-8; of short texts, how many at most."""
    most = 4 * len(text)
    return len(text.encode()) if most > MAX_DATA_BYTES else most


def retry_later(draft: Draft, step: Step, error: str, note: str, *, at_once: bool = False) -> None:
    """Wait before the next attempt, in whichever direction the step is going."""
    compensating = step.status is StepStatus.COMPENSATING
    policy = step.plan.compensation_retry if compensating else step.plan.retry
    attempts = step.compensation_attempts if compensating else step.attempts
    pause_over = draft.now if at_once else draft.pause(policy, attempts - step.forgiven, step)
    draft.move(
        step,
        step.status,
        note,
        error=error,
        deadline=None,
        unroutable=False,
        retry_at=pause_over,
    )


def fail(draft: Draft, step: Step, error: str, note: str | None) -> Step:
    """The action has failed for good."""
    draft.fail_first(step.name, error)
    return draft.move(
        step,
        StepStatus.FAILED,
        note,
        error=error,
        deadline=None,
        retry_at=None,
        unroutable=False,
    )


def finish_compensation(draft: Draft, step: Step, note: str | None = None) -> None:
    """The step is undone."""
    draft.move(
        step,
        StepStatus.COMPENSATED,
        note,
        deadline=None,
        retry_at=None,
        unroutable=False,
        compensated_at=draft.now,
    )


def give_up_compensation(draft: Draft, step: Step, error: str, note: str) -> None:
    """The compensation has exhausted its retries: a dead letter, and whoever listens is told."""
    failed = draft.move(
        step,
        StepStatus.COMPENSATION_FAILED,
        note,
        error=error,
        deadline=None,
        retry_at=None,
        unroutable=False,
    )
    call_for_compensation(draft, failed)
    announce(draft, "SagaCompensationDeadLettered", failed, error=error)


def call_again(draft: Draft, parked: Step) -> None:
    """What was owed for it may have been kept, and be lost: owe it once more."""
    left = (owed for owed in draft.saga.outbound if not _is_letter_of(owed, parked))
    draft.change(outbound=tuple(left))
    if parked.status is StepStatus.COMPENSATION_FAILED:
        call_for_compensation(draft, parked)
    else:
        call_for_action(draft, parked)


def call_for_compensation(draft: Draft, step: Step) -> None:
    """Its retries are exhausted: a person decides."""
    _call_person(draft, step, Direction.COMPENSATION, "compensation", "compensation_exhausted")


def call_for_action(draft: Draft, step: Step) -> None:
    """The same for a step past the pivot."""
    _call_person(draft, step, Direction.ACTION, "forward", "forward_exhausted")


def _call_person(draft: Draft, step: Step, direction: Direction, key: str, reason: str) -> None:
    """Owe a dead letter with the command that nobody could carry out."""
    letter = dead_letter_of(
        draft.saga, step, direction, key=key, reason=reason, cause=draft.message
    )
    draft.owe(letter)


def announce(draft: Draft, event: str, step: Step, **details: Any) -> None:
    """Owe an event about the step."""
    saga = draft.saga
    body = {"saga_id": saga.saga_id, "saga_type": saga.saga_type, "step_name": step.name}
    draft.owe(event_of(event, {**body, **details}, step=step.name, cause=draft.message))


def mark_unroutable(draft: Draft, names: frozenset[str]) -> None:
    """Their commands came back: no queue is bound for them. The clock sends them again."""
    for step in draft.saga.steps:
        if step.name in names and step.deadline is not None and not step.unroutable:
            draft.note(step.name, "no queue takes its command")
            draft.change_step(step, unroutable=True)
    draft.change(
        outbound=tuple(
            changed(owed, cause=None) if _is_command_of(owed, names) else owed
            for owed in draft.saga.outbound
        )
    )


def forget_sent(draft: Draft, unroutable: frozenset[str]) -> None:
    """What the clock has sent is settled, and a step's timeout counts from when it had left."""
    sent = [
        owed
        for owed in draft.saga.outbound
        if owed.cause is None and not _is_command_of(owed, unroutable)
    ]
    commands = {owed.step for owed in sent if owed.kind is OutboundKind.COMMAND}
    for step in draft.saga.steps:
        if step.name in commands and step.deadline is not None:
            deadline = draft.now + step.plan.timeout
            draft.change_step(step, unroutable=False, deadline=deadline)
    draft.change(outbound=tuple(owed for owed in draft.saga.outbound if owed not in sent))


def _is_letter_of(owed: Outbound, step: Step) -> bool:
    return owed.kind is OutboundKind.DEAD_LETTER and owed.step == step.name


def _is_command_of(owed: Outbound, steps: frozenset[str]) -> bool:
    return owed.kind is OutboundKind.COMMAND and owed.step in steps
