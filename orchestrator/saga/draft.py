"""The pen that `decide` writes with: no change to a saga without its line in the history."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.saga.changed import changed
from orchestrator.saga.plan import RetryPolicy
from orchestrator.saga.state import (
    Decision,
    Failure,
    Outbound,
    Saga,
    SagaState,
    Step,
    StepStatus,
    Transition,
    Verdict,
)

Delay = Callable[[RetryPolicy, int, str], timedelta]
"""The pause after attempt n of a policy; the string makes its jitter different by step."""

SEND_GUARD: Final = timedelta(seconds=5)
"""How long a clock's sending may take before another worker sends it again."""


class Draft:
    """A saga being decided. Holds no rule of its own.

    It writes on a copy, which nobody else sees before `decision` hands it out.
    """

    def __init__(
        self,
        saga: Saga,
        *,
        now: datetime,
        delay: Delay,
        by: str,
        message: str | None = None,
        actor: str | None = None,
    ) -> None:
        self.saga = changed(saga)
        self._fields = vars(self.saga)  # frozen for all others
        self.now = now
        self.message = message  # whose redelivery guards what is owed; None: the clock does
        self.actor = actor
        self._by = message or by
        self.dropped_keys: frozenset[str] = frozenset()
        self._delay = delay
        self._original = saga
        self._transitions: list[Transition] = []
        self._owed: list[Outbound] = []

    def step(self, name: str) -> Step:
        return next(step for step in self.saga.steps if step.name == name)

    def move(self, step: Step, status: StepStatus, note: str | None = None, **changes: Any) -> Step:
        """Give the step its new status. What it owed is settled by that."""
        moved = changed(step, status=status, **changes)
        name = moved.plan.name
        self._write(name, step.status, status, note, moved, error=changes.get("error"))
        self._fields["steps"] = self._steps_with(moved)
        if self.saga.outbound:
            left = [owed for owed in self.saga.outbound if owed.step != name]
            self._fields["outbound"] = tuple(left)
        return moved

    def note(self, step: str | None, note: str, *, error: str | None = None) -> None:
        """Keep something in the history that changes nothing else."""
        known = next((known for known in self.saga.steps if known.name == step), None)
        at = known.status if known else self.saga.state
        self._write(step, at, at, note, known, error=error)

    def turn(self, state: SagaState, note: str | None = None) -> None:
        """Give the saga its new state."""
        self._write(None, self.saga.state, state, note, None)
        self.change(state=state, ended_at=self.now if state.is_final else None)

    def change(self, **changes: Any) -> None:
        """Change fields of the saga that have no line in the history of their own."""
        self._fields.update(changes)

    def change_step(self, step: Step, **changes: Any) -> Step:
        fresh = changed(step, **changes)
        self._fields["steps"] = self._steps_with(fresh)
        return fresh

    def _steps_with(self, fresh: Step) -> tuple[Step, ...]:
        name = fresh.plan.name
        return tuple([fresh if old.plan.name == name else old for old in self.saga.steps])

    def owe(self, outbound: Outbound) -> None:
        """Send this, and keep it in the row until it is known to have left."""
        self._owed.append(outbound)
        self._fields["outbound"] = (*self.saga.outbound, outbound)

    def fail_first(self, step: str | None, error: str) -> None:
        """Remember the first failure, for good."""
        if self.saga.first_failure is None:
            self.change(first_failure=Failure(step=step, error=error, at=self.now))

    def pause(self, policy: RetryPolicy, attempt: int, step: Step) -> datetime:
        """When the next attempt is due."""
        key = f"{self.saga.saga_id}|{step.name}|{step.status}|{attempt}"
        return self.now + self._delay(policy, attempt, key)

    def decision(self, verdict: Verdict = Verdict.ADVANCED, *, late: str | None = None) -> Decision:
        """What came of it. Saves nothing if nothing changed."""
        if self.saga.resend_at and self.saga.steps and not self._is_unguarded():
            self.change(resend_at=None)
        must_save = bool(self._transitions) or self.saga != self._original
        if must_save:
            self._fields["updated_at"] = self.now
        elif verdict is Verdict.ADVANCED and not self._owed:
            verdict = Verdict.NOTHING
        return Decision(
            saga=self.saga,
            verdict=verdict,
            transitions=tuple(self._transitions),
            send=tuple([owed for owed in self._owed if owed in self.saga.outbound]),
            late=late,
            dropped_keys=self.dropped_keys,
            must_save=must_save,
        )

    def guard(self, sent_by: timedelta) -> None:
        """Let the clock send what no message's redelivery would bring about again."""
        self.change(resend_at=self.now + sent_by if self._is_unguarded() else None)

    def send_unguarded(self) -> None:
        """Send now everything that only the clock guards."""
        self._owed = [owed for owed in self.saga.outbound if owed.cause is None]

    def _is_unguarded(self) -> bool:
        return any(owed.cause is None for owed in self.saga.outbound)

    def _write(
        self,
        step: str | None,
        before: str,
        after: str,
        note: str | None,
        moved: Step | None,
        *,
        error: str | None = None,
    ) -> None:
        version = self._fields["version"] = self.saga.version + 1
        attempt = (moved.compensation_attempts or moved.attempts) if moved else 0
        line = Transition(
            version,
            self.now,
            step,
            str(before),
            str(after),
            self._by,
            self.actor,
            attempt or None,
            note,
            error,
        )
        self._transitions.append(line)
