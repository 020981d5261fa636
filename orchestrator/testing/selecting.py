"""Which of a saga's commands a scenario speaks of."""

from datetime import datetime

from orchestrator.saga.state import Direction, Outbound, OutboundKind, Step, StepStatus
from orchestrator.testing.course import Course
from orchestrator.testing.failures import HIDDEN, failure

__tracebackhide__ = HIDDEN

_UNDER_WAY = {
    StepStatus.EXECUTING: Direction.ACTION,
    StepStatus.COMPENSATING: Direction.COMPENSATION,
}


def commands(course: Course) -> tuple[Outbound, ...]:
    """Every command that the saga has sent, in order."""
    return tuple(each for each in course.sent if each.kind is OutboundKind.COMMAND)


def unseen(course: Course, seen: frozenset[Outbound]) -> tuple[Outbound, ...]:
    """Commands that no expectation has named yet."""
    return tuple(each for each in commands(course) if each not in seen)


def step_named(course: Course, name: str) -> Step:
    """The saga's step. ScenarioFailed, naming all of them, if there is none."""
    for step in course.saga.steps:
        if step.name == name:
            return step
    known = ", ".join(each.name for each in course.saga.steps)
    raise failure(f"a step {name!r}", f"the plan has {known}", course)


def open_command(course: Course, seen: frozenset[Outbound], name: str) -> Outbound:
    """The command of this step that is under way and was expected."""
    step = step_named(course, name)
    direction = _UNDER_WAY.get(step.status)
    sent = [each for each in commands(course) if each.step == name and each.direction is direction]
    if not sent or step.retry_at is not None:
        raise failure(f"a command of {name} that waits for its reply", _why(step), course)
    if sent[-1] not in seen:
        raise failure(
            f"{name} to have been expected before it is answered", "say .expects(…) first", course
        )
    return sent[-1]


def late_command(course: Course, name: str) -> Outbound:
    """The last action command of this step, to which no reply is awaited."""
    step = step_named(course, name)
    sent = [
        each
        for each in commands(course)
        if each.step == name and each.direction is Direction.ACTION
    ]
    if not sent:
        raise failure(f"an answer of {name} that comes late", "its action was never sent", course)
    if step.status is StepStatus.EXECUTING and step.retry_at is None:
        raise failure(
            f"an answer of {name} that comes late", "it is awaited still: use .step(…)", course
        )
    return sent[-1]


def deadline_of(course: Course, command: Outbound) -> datetime:
    """Until when the reply to this command is awaited."""
    step = step_named(course, command.step or "")
    if step.deadline is None:
        raise failure(f"{step.name} to wait for a reply", f"it is {step.status}", course)
    return step.deadline


def _why(step: Step) -> str:
    if step.retry_at is not None:
        return "it pauses before its next attempt: say .retries(…)"
    return f"it is {step.status}"
