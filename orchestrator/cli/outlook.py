"""What an unfinished saga waits for, and who has to act. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from dlq_worker.statuses import Status
from dlq_worker.views import LetterView
from orchestrator.cli.wording import ago, clock, span
from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.state import SagaState, StepStatus
from orchestrator.store.views import LockView, SagaView, StepView

_PATIENCE: Final = timedelta(seconds=10)


class Waiting(StrEnum):
    """For what, or for whom."""

    LOCK = "lock"
    PLAN = "plan"
    REPLY = "reply"
    QUEUE = "queue"
    ATTEMPT = "attempt"
    REPLAY = "replay"
    PERSON = "person"
    ORCHESTRATOR = "orchestrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """One thing that is to come, and when."""

    waiting_for: Waiting
    step: str | None
    at: datetime | None
    text: str

    def to_json(self) -> dict[str, Any]:
        return {
            "waiting_for": self.waiting_for.value,
            "step": self.step,
            "at": self.at.isoformat() if self.at else None,
            "text": self.text,
        }


def prospects_of(
    view: SagaView, letters: Sequence[LetterView], now: datetime
) -> tuple[Prospect, ...]:
    """What is next; nothing for a saga that has ended."""
    if SagaState(view.state).is_final:
        return ()
    waited_for = [lock for lock in view.locks if not lock.is_held]
    if not view.steps and waited_for and view.wake_at and view.wake_at > now - _PATIENCE:
        return tuple(_for_lock(lock) for lock in waited_for if lock.holder or lock.ahead)
    if not view.steps:
        return (_planning(view, now),)
    found = [each for step in view.steps for each in _of_step(view, step, letters, now)]
    if view.wake_at and view.wake_at < now - _PATIENCE:
        found.append(_overdue(view, view.wake_at, now))
    return tuple(found)


def _for_lock(lock: LockView) -> Prospect:
    """It begins when all of its locks are free."""
    who = f"saga {lock.holder} to end" if lock.holder else "those before it in line"
    text = f"waiting for {who}: lock {lock.name}"
    return Prospect(waiting_for=Waiting.LOCK, step=None, at=None, text=text)


def _planning(view: SagaView, now: datetime) -> Prospect:
    text = f"waiting for an orchestrator that knows {view.saga_type}"
    if view.created_at < now - _PATIENCE:
        text = f"{text}: is one running? saga orchestrator run MODULE"
    return Prospect(waiting_for=Waiting.PLAN, step=None, at=None, text=text)


def _of_step(
    view: SagaView, step: StepView, letters: Sequence[LetterView], now: datetime
) -> Iterator[Prospect]:
    match StepStatus(step.status):
        case StepStatus.EXECUTING:
            yield from _of_command(step, step.action, now)
        case StepStatus.COMPENSATING:
            yield from _of_command(step, step.compensation or step.action, now)
        case StepStatus.COMPENSATION_FAILED:
            yield _of_person(view, step, letters, now)
        case StepStatus.FAILED if _is_past_pivot(view, step):
            yield _of_person(view, step, letters, now)
        case _:
            return


def _of_command(step: StepView, command: str, now: datetime) -> Iterator[Prospect]:
    name = f"{command} ({step.name})"
    if step.retry_at is not None:
        was = "" if step.retry_at > now else "was due "
        text = f"next attempt of {name} {was}{ago(step.retry_at, now)}"
        yield Prospect(waiting_for=Waiting.ATTEMPT, step=step.name, at=step.retry_at, text=text)
    elif step.deadline is not None and step.unroutable:
        text = (
            f"no queue is bound for {name}: sent again until {clock(step.deadline, now)}; "
            "is its participant running? saga topology verify"
        )
        yield Prospect(waiting_for=Waiting.QUEUE, step=step.name, at=step.deadline, text=text)
    elif step.deadline is not None:
        when = f"{clock(step.deadline, now)} ({ago(step.deadline, now)})"
        text = f"waiting for the reply of {name} until {when}"
        if step.deadline <= now:
            text = f"there was no reply of {name} until {when}"
        yield Prospect(waiting_for=Waiting.REPLY, step=step.name, at=step.deadline, text=text)


def _of_person(
    view: SagaView, step: StepView, letters: Iterable[LetterView], now: datetime
) -> Prospect:
    letter = next((each for each in letters if _is_open_about(each, step)), None)
    halted = _what_stands_still(view, step)
    if letter is None:
        text = (
            f"{halted}: its dead letter is not stored yet; is the DLQ worker running? saga dlq run"
        )
        return Prospect(waiting_for=Waiting.REPLAY, step=step.name, at=None, text=text)
    by_hand = f"saga dlq resolve {letter.id} --reason …{_result(step)}"
    look_at = letter.stored.next_replay_at
    if letter.stored.status is Status.REPLAYING or look_at is not None:
        text = f"{halted}: the DLQ worker looks at dead letter {letter.id}{_when(look_at, now)}"
        return Prospect(waiting_for=Waiting.REPLAY, step=step.name, at=look_at, text=text)
    text = (
        f"{halted}: a person must resolve dead letter {letter.id}: {by_hand}, "
        f"or have it tried again: saga dlq retry {letter.id}"
    )
    return Prospect(waiting_for=Waiting.PERSON, step=step.name, at=None, text=text)


def _when(look_at: datetime | None, now: datetime) -> str:
    if look_at is None:
        return " again when the saga has moved"
    if look_at > now - _PATIENCE:
        return f" again {ago(look_at, now)}" if look_at > now else " now"
    return f"; it should have {ago(look_at, now)}: is it running? saga dlq run"


def _what_stands_still(view: SagaView, step: StepView) -> str:
    if step.status == StepStatus.FAILED:
        return f"halted past the pivot at {step.name}"
    if view.on_exhausted == OnExhausted.CONTINUE:
        return f"{step.name} is not compensated"
    return f"halted at {step.name}"


def _result(step: StepView) -> str:
    """A step is resolved with its result, a compensation without."""
    return " --result JSON" if step.status == StepStatus.FAILED else ""


def _is_open_about(letter: LetterView, step: StepView) -> bool:
    return letter.stored.letter.step_name == step.name and not letter.stored.status.is_closed


def _is_past_pivot(view: SagaView, step: StepView) -> bool:
    """It cannot be given up: only a person moves it on."""
    if view.state == SagaState.COMPENSATING:
        return False
    passed = any(each.pivot and each.status == StepStatus.COMPLETED for each in view.steps)
    return passed or (step.pivot and step.effect_unknown and step.compensation is None)


def _overdue(view: SagaView, since: datetime, now: datetime) -> Prospect:
    text = (
        f"it has been due for {span(now - since)}: is an orchestrator running that knows "
        f"{view.saga_type}? saga orchestrator run MODULE"
    )
    return Prospect(waiting_for=Waiting.ORCHESTRATOR, step=None, at=since, text=text)
