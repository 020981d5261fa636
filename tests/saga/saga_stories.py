"""A small language to tell what happens to a saga, and to ask what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.saga.decide import decide
from orchestrator.saga.plan import OnExhausted, PlannedStep, RetryPolicy
from orchestrator.saga.start import begin, requested
from orchestrator.saga.state import (
    CancelRequested,
    CompensationCompleted,
    CompensationFailed,
    Decision,
    Event,
    Failure,
    Outbound,
    OutboundKind,
    Published,
    ResolveRequested,
    RetryRequested,
    Saga,
    SagaState,
    Step,
    StepCompleted,
    StepFailed,
    StepStatus,
    TimeReached,
    Transition,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
TIMEOUT = 5 * MINUTE
ONCE = RetryPolicy(max_attempts=1)
TWICE = RetryPolicy(max_attempts=2)
THRICE = RetryPolicy(max_attempts=3)
FINAL = {SagaState.COMPLETED, SagaState.FAILED}


def pause(policy: RetryPolicy, attempt: int, _key: str) -> timedelta:
    """Without jitter and cap: what they do is told elsewhere."""
    return policy.initial * 2 ** (attempt - 1)


def step(name: str, *, undo: bool = True, **more: Any) -> PlannedStep:
    """A step that can be undone, in a stage that `plan` gives it."""
    values = {"timeout": TIMEOUT, "compensation_retry": TWICE, **more}
    undoing = f"Service.Undo-{name}" if undo else None
    return PlannedStep(
        name=name, stage=0, action=f"Service.Do-{name}", compensation=undoing, **values
    )


def plan(*stages: PlannedStep | str | Sequence[PlannedStep | str]) -> tuple[PlannedStep, ...]:
    """Stages in order; a list is a stage whose steps run in parallel, a word a plain step."""
    found = []
    for number, stage in enumerate(stages):
        for each in [stage] if isinstance(stage, str | PlannedStep) else stage:
            planned = step(each) if isinstance(each, str) else each
            found.append(replace(planned, stage=number))
    return tuple(found)


class Story:
    """A saga to which things happen, one after the other."""

    def __init__(
        self,
        *stages: PlannedStep | str | Sequence[PlannedStep | str],
        data: Mapping[str, Any] | None = None,
        on_exhausted: OnExhausted = OnExhausted.HALT,
        by_clock: bool = False,
    ) -> None:
        self.now = NOON
        self.history: list[Transition] = []
        self.messages = 0
        asked = requested(
            saga_id="saga-1",
            saga_type="Order",
            data={"order_id": "42"} if data is None else data,
            input_digest="digest",
            now=self.now,
        )
        self.last = begin(
            asked,
            plan(*stages),
            on_exhausted=on_exhausted,
            now=self.now,
            delay=pause,
            cause=None if by_clock else "m0",
        )
        self._keep(self.last)

    # --- what happens

    def completed(self, name: str, result: Mapping[str, Any] | None = None, **more: Any) -> None:
        self.happens(StepCompleted(step=name, result=result or {}, **self._message(more)))

    def failed(self, name: str, error: str = "no", **more: Any) -> None:
        self.happens(StepFailed(step=name, error=error, **self._message(more)))

    def undone(self, name: str, **more: Any) -> None:
        self.happens(CompensationCompleted(step=name, **self._message(more)))

    def not_undone(self, name: str, error: str = "cannot", **more: Any) -> None:
        self.happens(CompensationFailed(step=name, error=error, **self._message(more)))

    def cancelled(self, **more: Any) -> None:
        more = {"cause": self._message({})["cause"], **more}
        self.happens(CancelRequested(reason="called off", actor="anna", **more))

    def retried(self, name: str) -> None:
        self.happens(RetryRequested(step=name, reason="mended", actor="anna"))

    def resolved(self, name: str, result: Mapping[str, Any] | None = None) -> None:
        self.happens(
            ResolveRequested(step=name, reason="done by hand", actor="anna", result=result)
        )

    def time_passes(self, *, until: datetime | None = None) -> None:
        """To the moment when the clock has to look at the saga again, or to a later one."""
        due = until or self.saga.wake_at
        assert due is not None, "nothing wakes the saga"
        self.now = max(self.now, due)
        self.happens(TimeReached())

    def sent_by_clock(self, *unroutable: str) -> None:
        """What the clock has sent is confirmed, but for the commands of these steps."""
        event = Published(version=self.saga.version, unroutable=frozenset(unroutable))
        self.happens(event)

    def came_back(self, *names: str) -> None:
        """The commands of these steps, sent because of a message, were unroutable."""
        self.happens(Published(version=None, unroutable=frozenset(names)))

    def redelivered(self, event: Event) -> None:
        self.happens(replace(event, redelivered=True))  # type: ignore[call-arg]

    def happens(self, event: Event) -> None:
        self.event = event
        self.before = self.saga
        self._keep(decide(self.saga, event, now=self.now, delay=pause))

    def _message(self, more: Mapping[str, Any]) -> dict[str, Any]:
        self.messages += 1
        return {"cause": f"m{self.messages}", **more}

    def _keep(self, decision: Decision) -> None:
        self.last = decision
        self.saga: Saga = decision.saga
        self.history += decision.transitions

    # --- what came of it

    @property
    def state(self) -> SagaState:
        return self.saga.state

    @property
    def failure(self) -> Failure | None:
        return self.saga.first_failure

    @property
    def sent(self) -> list[str]:
        """What the last event sent, in short."""
        return [in_short(owed) for owed in self.last.send]

    @property
    def owed(self) -> list[str]:
        """What the row still carries, in short."""
        return [in_short(owed) for owed in self.saga.outbound]

    @property
    def notes(self) -> list[str]:
        """What the last event wrote into the history."""
        return [in_words(line) for line in self.last.transitions]

    def step(self, name: str) -> Step:
        return next(each for each in self.saga.steps if each.name == name)

    def status(self, name: str) -> StepStatus:
        return self.step(name).status

    def body(self, number: int = 0) -> Any:
        """Of what the last event sent."""
        return json.loads(self.last.send[number].body)

    @property
    def is_unchanged(self) -> bool:
        return self.saga == self.before and not self.last.must_save


def in_short(owed: Outbound) -> str:
    match owed.kind:
        case OutboundKind.COMMAND:
            return f"{'do' if owed.direction == 'action' else 'undo'} {owed.step}"
        case OutboundKind.EVENT:
            return owed.destination
        case OutboundKind.DEAD_LETTER:
            return f"letter {owed.reason} {owed.step}"


def in_words(line: Transition) -> str:
    moved = f"{line.step or 'saga'}: {line.before}"
    if line.after != line.before:
        moved = f"{moved} -> {line.after}"
    return f"{moved} ({line.note})" if line.note else moved


def halted(*, undoing: str = "a") -> Story:
    """Its compensation has exhausted its retries."""
    story = Story(step(undoing), "z")
    story.completed(undoing)
    story.failed("z")
    story.not_undone(undoing, retryable=False)
    return story


def past_pivot(*stages: PlannedStep | str | Sequence[PlannedStep | str]) -> Story:
    """Its pivot has completed; these stages are left."""
    story = Story("a", step("pivot", undo=False, pivot=True), *stages)
    story.completed("a")
    story.completed("pivot")
    return story
