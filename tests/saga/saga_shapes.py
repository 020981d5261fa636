"""What makes two sagas of a walk the same."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from saga_happenings import CAUSE, DATA, RESULT
from saga_stories import MINUTE, NOON

from orchestrator.saga.plan import PlannedStep
from orchestrator.saga.state import Failure, Outbound, Saga, Step, StepStatus

LATER = NOON + 60 * MINUTE
VERSION = 100
BACK = {StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED}

Key = tuple[Any, ...]
State = tuple[Any, ...]


class Shapes:
    """Of the sagas of one plan. `owing`: what a saga owes makes a difference too."""

    def __init__(
        self, plan: Sequence[PlannedStep], *, symmetric: bool = True, owing: bool = True
    ) -> None:
        self._owing = owing
        self._numbers: dict[Any, int] = {}
        self._steps: dict[Key, tuple[Step, int, int]] = {}  # plain, number of key, of exact shape
        self._due: dict[int, Step] = {}
        self._owed: dict[Key, Outbound] = {}
        self._exact: set[State] = set()
        self._kinds = {step.name: self._number(_kind_of(step)) for step in plan}
        self._symmetric = symmetric
        self._groups = _groups_of(plan, self._kinds)

    def state_of(self, saga: Saga) -> tuple[State, bool]:
        """What decides on the future of the saga, and whether its exact shape is a new one."""
        owed = self._owed_by_step(saga)
        found = [self._step(step) for step in saga.steps]
        whole: State = (saga.state, saga.cancel_reason is None, saga.first_failure is None)
        owes = (saga.resend_at is None, *((name, *sorted(each)) for name, each in owed.items()))
        exact = (whole, *(each[2] for each in found), owes)
        is_new = exact not in self._exact
        if is_new:
            self._exact.add(exact)
        if self._owing:
            whole = (*whole, saga.resend_at is None, *sorted(owed.get(None, ())))
        else:
            owed = {}
        steps = [
            self._number((each[1], *sorted(owed.get(step.name, ()))))
            for step, each in zip(saga.steps, found, strict=True)
        ]
        state = (whole, *steps)
        return self.in_order(state) if self._symmetric else state, is_new

    def in_order(self, state: State) -> State:
        """The same for all states that differ only in which of like steps is which."""
        whole, *steps = state
        for start, end in self._groups:
            steps[start:end] = sorted(steps[start:end])
        return (whole, *steps)

    def plain(self, saga: Saga) -> Saga:
        """The saga without what never matters: how long, how often beyond its budget, which id."""
        failure = saga.first_failure
        return replace(
            saga,
            version=VERSION,
            data=DATA,
            steps=tuple(self._step(step)[0] for step in saga.steps),
            cancel_reason=saga.cancel_reason and "cancelled",
            first_failure=failure and Failure(step=failure.step, error="no", at=NOON),
            outbound=tuple(dict.fromkeys(self._plain_owed(owed) for owed in saga.outbound)),
            resend_at=saga.resend_at and LATER,
            updated_at=NOON,
            ended_at=saga.ended_at and NOON,
        )

    def unlike(self, saga: Saga) -> Iterator[Step]:
        """The steps, but only one of those in a stage that are quite alike."""
        owed = self._owed_by_step(saga) if self._owing else {}
        seen = set()
        for step in saga.steps:
            alike = (step.plan.stage, self._step(step)[1], *sorted(owed.get(step.name, ())))
            if not self._symmetric or alike not in seen:
                yield step
            seen.add(alike)

    def number_of(self, step: Step) -> int:
        """The same for steps that are planned alike and as far."""
        return self._step(step)[1]

    def due(self, step: Step) -> Step:
        """The plain step, its moment come."""
        if id(step) not in self._due:
            self._due[id(step)] = replace(
                step, deadline=step.deadline and NOON, retry_at=step.retry_at and NOON
            )
        return self._due[id(step)]

    def _owed_by_step(self, saga: Saga) -> dict[str | None, list[int]]:
        owed: dict[str | None, list[int]] = {}
        for each in saga.outbound:
            what = (each.kind, each.direction, each.reason, each.cause is None)
            if each.direction is None:
                what = (*what, each.destination)
            numbers = owed.setdefault(each.step, [])
            number = self._number(what)
            if number not in numbers:
                numbers.append(number)
        return owed

    def _step(self, step: Step) -> tuple[Step, int, int]:
        shape = _shape_of(step)
        found = self._steps.get(shape)
        if found is None:
            plain = _plain_step(step)
            key = self._number((self._kinds[step.name], *_key_of(plain)))
            found = self._steps[shape] = plain, key, self._number(("exact", shape))
        return found

    def _plain_owed(self, owed: Outbound) -> Outbound:
        key = (owed.kind, owed.destination, owed.step, owed.direction, owed.reason, not owed.cause)
        if key not in self._owed:
            self._owed[key] = replace(
                owed, body="{}", cause=owed.cause and CAUSE, attempt=None, deadline=None, error=None
            )
        return self._owed[key]

    def _number(self, what: Any) -> int:
        return self._numbers.setdefault(what, len(self._numbers))


def _groups_of(plan: Sequence[PlannedStep], kinds: dict[str, int]) -> Sequence[tuple[int, int]]:
    """From where to where steps are alike: of one stage, planned in one manner."""
    places = groupby(range(len(plan)), key=lambda at: (plan[at].stage, kinds[plan[at].name]))
    runs = [list(run) for _, run in places]
    return [(run[0], run[-1] + 1) for run in runs if len(run) > 1]


def _kind_of(step: PlannedStep) -> PlannedStep:
    return replace(step, name="", action="", compensation=step.compensation and "")


def _shape_of(step: Step) -> Key:
    return (
        step.plan.name,
        step.status,
        step.attempts,
        step.compensation_attempts,
        step.forgiven,
        step.effect_unknown,
        step.result is None,
        step.error,
        step.deadline is None,
        step.retry_at is None,
        step.unroutable,
    )


def _plain_step(step: Step) -> Step:
    going_back = step.status in BACK
    attempts, forgiven = _plain_attempts(step.attempts, 0 if going_back else step.forgiven)
    back, forgiven_back = _plain_attempts(
        step.compensation_attempts, step.forgiven if going_back else 0
    )
    return replace(
        step,
        attempts=attempts,
        compensation_attempts=back,
        forgiven=forgiven_back if going_back else forgiven,
        result=step.result and RESULT,
        deadline=step.deadline and LATER,
        retry_at=step.retry_at and LATER,
        started_at=None,
        completed_at=None,
        compensation_started_at=None,
        compensated_at=None,
    )


def _plain_attempts(attempts: int, forgiven: int) -> tuple[int, int]:
    """Those that are forgiven are one, if any."""
    kept = min(forgiven, 1)
    return attempts - forgiven + kept, kept


def _key_of(step: Step) -> Key:
    """What decides on the future of the step, and nothing else."""
    match step.status:
        case StepStatus.PENDING | StepStatus.COMPLETED | StepStatus.COMPENSATION_FAILED:
            return (step.status,)
        case StepStatus.COMPENSATED:
            return (step.status, step.result is None)
        case StepStatus.FAILED:
            return (step.status, step.effect_unknown, step.result is None)
        case StepStatus.EXECUTING:
            return (step.effect_unknown, *_key_of_attempt(step, step.attempts))
        case StepStatus.COMPENSATING:
            return (step.result is None, *_key_of_attempt(step, step.compensation_attempts))


def _key_of_attempt(step: Step, attempts: int) -> Key:
    counted = attempts - step.forgiven
    return (step.status, counted, attempts > 1, step.deadline is None, step.unroutable)
