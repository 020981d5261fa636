"""The steps of a saga, drawn with their stages and attempts."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from rich.table import Table
from rich.text import Text

from orchestrator.cli.attempts import Attempt, attempts_of
from orchestrator.cli.output import STYLES, coloured, text_of
from orchestrator.cli.wording import clock, span
from orchestrator.saga.state import StepStatus
from orchestrator.store.views import SagaView, StepView

_MARKS: Final = {
    StepStatus.PENDING: "·",
    StepStatus.EXECUTING: "▶",
    StepStatus.COMPLETED: "✓",
    StepStatus.FAILED: "✗",
    StepStatus.COMPENSATING: "◀",
    StepStatus.COMPENSATED: "↩",
    StepStatus.COMPENSATION_FAILED: "‼",
}


def step_grid(saga: SagaView, now: datetime) -> Table:
    """Stage by stage; steps that run in parallel are held together by a bracket."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for number, stage in groupby(saga.steps, lambda step: step.stage):
        rows = [row for step in stage for row in _rows(saga, step, now)]
        steps = len({step.name for step in saga.steps if step.stage == number})
        for index, row in enumerate(rows):
            label = f"{number + 1 if index == 0 else '':>2}"
            bracket = _bracket(index, len(rows)) if steps > 1 else " "
            mark, *cells = row
            grid.add_row(Text.assemble((f"{label} {bracket} ", "dim"), mark), *cells)
    return grid


def _bracket(index: int, rows: int) -> str:
    if index == 0:
        return "┌"
    return "└" if index == rows - 1 else "│"


def _rows(saga: SagaView, step: StepView, now: datetime) -> Iterator[Sequence[Text]]:
    """The step, and below it each of its attempts."""
    name = Text.assemble(text_of(step.name), (" (pivot)" if step.pivot else "", "dim"))
    mark = Text(_MARKS[StepStatus(step.status)], style=STYLES.get(step.status, "dim"))
    attempts = attempts_of(step.name, saga.history)
    yield mark, name, coloured(step.status), _remark(step, attempts)
    for attempt in attempts:
        yield (
            Text(),
            _label(attempt),
            text_of(clock(attempt.began, now), "dim"),
            _told(attempt, now),
        )


def _remark(step: StepView, attempts: Sequence[Attempt]) -> Text:
    """What none of its attempts tells."""
    if not attempts and step.error:
        return text_of(step.error)
    if step.status == StepStatus.FAILED and step.effect_unknown:
        return text_of("it may have had its effect", "dim")
    if step.status == StepStatus.COMPLETED and step.compensation is None:
        return text_of("there is nothing to undo", "dim")
    return Text()


def _label(attempt: Attempt) -> Text:
    return Text(f"  {attempt.direction} {attempt.number}", style="dim")


def _told(attempt: Attempt, now: datetime) -> Text:
    if attempt.ended is None:
        return text_of(f"under way for {span(now - attempt.began)}", "cyan")
    told = f"{attempt.outcome} after {span(attempt.ended - attempt.began)}"
    return text_of(f"{told}: {attempt.error}", "red") if attempt.error else text_of(told, "dim")
