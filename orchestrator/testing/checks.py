"""The expectations of a scenario: each passes in silence or raises ScenarioFailed."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from orchestrator.saga.state import (
    Direction,
    Outbound,
    OutboundKind,
    SagaState,
    StepStatus,
    Verdict,
)
from orchestrator.testing.course import Course
from orchestrator.testing.failures import HIDDEN, command_said, commands_said, failure, since
from orchestrator.testing.selecting import step_named

__tracebackhide__ = HIDDEN


def check_sent(
    course: Course,
    sent: Sequence[Outbound],
    steps: Sequence[str],
    direction: Direction | None,
) -> None:
    """Exactly these steps' commands were sent, in this direction or (None) in any."""
    for name in steps:
        step_named(course, name)
    is_way_right = direction is None or all(each.direction is direction for each in sent)
    if is_way_right and sorted(steps) == sorted(each.step or "" for each in sent):
        return
    undone = " to be compensated" if direction is Direction.COMPENSATION else " to be sent"
    wanted = f"{' and '.join(steps)}{undone}" if steps else "no command to be sent"
    raise failure(wanted, commands_said(sent), course)


def check_pause(
    course: Course, sent: Sequence[Outbound], steps: Sequence[str], after: timedelta | None
) -> datetime:
    """When the last of these steps is tried again; now, if that has happened already."""
    moments = [_next_attempt(course, sent, name) for name in steps]
    due = max(moments, default=course.now)
    if after is not None and due - course.now != after:
        wanted = f"{' and '.join(steps)} to be tried again after {after}"
        raise failure(wanted, f"its pause is {due - course.now}", course)
    return due


def check_body(course: Course, commands: Sequence[Outbound], data: Mapping[str, Any]) -> None:
    """Each of these commands carries these values, among others."""
    for command in commands:
        _check_values(course, command_said(command), command.body, data)


def check_announcement(course: Course, event: str, data: Mapping[str, Any]) -> None:
    """This event was sent, with these values among others."""
    sent = [each for each in course.sent if each.kind is OutboundKind.EVENT]
    found = [each for each in sent if each.destination == event]
    if not found:
        names = ", ".join(each.destination for each in sent) or "none"
        raise failure(f"the event {event}", f"events sent: {names}", course)
    _check_values(course, f"the event {event}", found[-1].body, data)


def check_letter(course: Course, reason: str) -> None:
    """A dead letter was sent for this reason."""
    sent = [each.reason for each in course.sent if each.kind is OutboundKind.DEAD_LETTER]
    if course.verdict is Verdict.OUT_OF_SEQUENCE:
        sent.append("out_of_sequence")  # the worker rejects the message with this reason
    if reason not in sent:
        known = ", ".join(each or "" for each in sent) or "none"
        raise failure(f"a dead letter {reason!r}", f"dead letters sent: {known}", course)


def check_kind(course: Course, kind: str) -> None:
    """The last reply counts as late in this way."""
    if course.late != kind:
        instead = f"it counts as {course.late!r}" if course.late else "it was in time"
        raise failure(f"the last reply to count as {kind!r}", instead, course)


def check_statuses(course: Course, statuses: Mapping[str, str]) -> None:
    """These steps have these statuses."""
    for name, status in statuses.items():
        _check_word(course, f"{name}'s status", status, [each.value for each in StepStatus])
        if (step := step_named(course, name)).status != status:
            raise failure(f"{name} to be {status}", f"it is {step.status}", course)


def check_state(course: Course, state: str) -> None:
    """The saga is in this state."""
    _check_word(course, "a saga's state", state, [each.value for each in SagaState])
    if course.saga.state != state:
        raise failure(f"the saga to be {state}", f"it is {course.saga.state}", course)


def check_end(course: Course, sent: Sequence[Outbound], state: str, error: str | None) -> None:
    """The saga has ended so, for this reason, and has sent nothing that was not expected."""
    finals = [each.value for each in SagaState if each.is_final]
    _check_word(course, "the end of a saga", state, finals)
    saga = course.saga
    if saga.state != state:
        instead = f"it has {saga.state}" if saga.state.is_final else _open(course, sent)
        raise failure(f"the saga to end as {state}", instead, course)
    if sent:
        raise failure("no other command before the end", commands_said(sent), course)
    told = saga.first_failure.error if saga.first_failure else None
    if error is not None and error != told:
        raise failure(f"the saga to end with the error {error!r}", f"it is {told!r}", course)


def check_refusal(course: Course, refused: str | None) -> None:
    """What a person has asked for was refused with these words, or (None) was not refused."""
    refusal = course.refusal if course.verdict is Verdict.REFUSED else None
    if refused is None and refusal is not None:
        raise failure("the request to be accepted", f"it was refused: {refusal}", course)
    if refused is not None and refused not in (refusal or ""):
        instead = f"it was refused: {refusal}" if refusal else "it was accepted"
        raise failure(f"the request to be refused with {refused!r}", instead, course)


def _next_attempt(course: Course, sent: Sequence[Outbound], name: str) -> datetime:
    step = step_named(course, name)
    if any(each.step == name and (each.attempt or 1) > 1 for each in sent):
        return course.now
    if step.retry_at is None:
        raise failure(f"{name} to be tried again", f"it is {step.status}", course)
    return step.retry_at


def _check_values(course: Course, what: str, body: str, data: Mapping[str, Any]) -> None:
    carried = json.loads(body)
    for key, value in data.items():
        if key not in carried:
            raise failure(f"{what} to carry {key!r}", f"it carries {sorted(carried)}", course)
        if carried[key] != value:
            instead = f"it carries {carried[key]!r}"
            raise failure(f"{what} to carry {key!r} = {value!r}", instead, course)


def _check_word(course: Course, what: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise failure(f"{what} to be one of {', '.join(known)}", f"it is {word!r}", course)


def _open(course: Course, sent: Sequence[Outbound]) -> str:
    saga = course.saga
    unexpected = f", and {commands_said(sent)} which nothing expected" if sent else ""
    if saga.wake_at is None:
        return f"it is {saga.state} and waits for a person{unexpected}"
    return f"it is {saga.state} and looks again at {since(saga.created_at, saga.wake_at)}" + (
        unexpected
    )
