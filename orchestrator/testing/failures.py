"""What a failed expectation says: what was expected, what came instead, and the saga so far."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import methodcaller
from typing import Final, Protocol

from orchestrator.saga.state import Direction, Outbound, Step
from orchestrator.testing.course import Course


class ScenarioFailed(AssertionError):
    """A saga did something else than its test expects, or a scenario makes no sense."""


HIDDEN: Final = methodcaller("errisinstance", ScenarioFailed)
"""For `__tracebackhide__`: pytest leaves out the frames between a test and what it hears."""

__tracebackhide__ = HIDDEN


class Line(Protocol):
    """One line of a saga's history, of the core or as the store shows it."""

    @property
    def at(self) -> datetime: ...
    @property
    def step(self) -> str | None: ...
    @property
    def before(self) -> str: ...
    @property
    def after(self) -> str: ...
    @property
    def attempt(self) -> int | None: ...
    @property
    def note(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...


def failure(expected: str, instead: str, course: Course) -> ScenarioFailed:
    """The error to raise, with the saga's story in it."""
    return ScenarioFailed(f"expected {expected}; {instead}\n\n{story(course)}")


def story(course: Course) -> str:
    """The saga's state, its steps, and its history as a table."""
    saga = course.saga
    age = since(saga.created_at, course.now)
    title = f"{saga.saga_type} {saga.saga_id} is {saga.state} at {age}"
    steps = "\n".join(f"  {each.name}: {_condition(each, saga.created_at)}" for each in saga.steps)
    return f"{title}\n{steps}\n\n{history_table(course.history, saga.created_at)}"


def history_table(history: Iterable[Line], began: datetime) -> str:
    """The lines as columns: time since the start, step, change, attempt, note and error."""
    rows = [_row(line, began) for line in history]
    return table(("time", "step", "change", "attempt", "note"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their names, two spaces in, none of them cut off."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in every
    )
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def commands_said(commands: Sequence[Outbound]) -> str:
    """`it sent flight (Flights.Book) and …`, or that it sent nothing."""
    if not commands:
        return "it has sent nothing new"
    return f"it has sent {' and '.join(command_said(each) for each in commands)}"


def command_said(command: Outbound) -> str:
    """A command by its step, what it asks for, and which attempt it is if not the first."""
    again = f", attempt {command.attempt}" if (command.attempt or 1) > 1 else ""
    undoing = "the compensation of " if command.direction is Direction.COMPENSATION else ""
    return f"{undoing}{command.step} ({command.destination}{again})"


def since(began: datetime, moment: datetime) -> str:
    """A moment as the time since the saga's start: `+15:00`, `+2:00:05`, `+0:00.250`."""
    passed = moment - began
    minutes, seconds = divmod(int(passed.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    whole = f"+{hours}:{minutes:02}:{seconds:02}" if hours else f"+{minutes}:{seconds:02}"
    milliseconds = passed % timedelta(seconds=1) // timedelta(milliseconds=1)
    return f"{whole}.{milliseconds:03}" if milliseconds else whole


def _condition(step: Step, began: datetime) -> str:
    said = [str(step.status)]
    if step.retry_at is not None:
        said.append(f"tried again at {since(began, step.retry_at)}")
    elif step.deadline is not None:
        said.append(f"its reply is awaited until {since(began, step.deadline)}")
    if step.error:
        said.append(f"last error: {step.error}")
    return ", ".join(said)


def _row(line: Line, began: datetime) -> Sequence[str]:
    change = line.after if line.before == line.after else f"{line.before} → {line.after}"
    remarks = [text for text in (line.note, line.error) if text]
    attempt = str(line.attempt) if line.attempt else ""
    return since(began, line.at), line.step or "(saga)", change, attempt, ": ".join(remarks)
