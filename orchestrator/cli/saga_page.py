"""`saga show`: one saga, drawn: its steps and attempts, what is next, its letters and history."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chassis.exit_codes import ExitCode
from dlq_worker.listing import LetterFilter, list_letters
from dlq_worker.views import LetterView
from orchestrator.cli.attempts import attempts_of
from orchestrator.cli.letters import letter_listing
from orchestrator.cli.outlook import Prospect, Waiting, prospects_of
from orchestrator.cli.output import Output, coloured, print_json, print_parts, text_of
from orchestrator.cli.saga_history import history_listing
from orchestrator.cli.saga_steps import step_grid
from orchestrator.cli.session import database_time, saga_database
from orchestrator.cli.starting import no_such_saga
from orchestrator.cli.wording import ago, clean, clock, shortened, span, stamp
from orchestrator.saga.state import SagaState, StepStatus
from orchestrator.store.queries import show_saga
from orchestrator.store.views import LockView, SagaView

_SHOWN_DATA: Final = 2000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that is shown of one saga, at one moment."""

    saga: SagaView
    letters: Sequence[LetterView]
    prospects: Sequence[Prospect]
    now: datetime

    def to_json(self) -> dict[str, Any]:
        saga = self.saga.to_json()
        for step in saga["steps"]:
            made = attempts_of(step["name"], self.saga.history)
            step["commands"] = [attempt.to_json() for attempt in made]
        return {
            **saga,
            "next": [prospect.to_json() for prospect in self.prospects],
            "dead_letters": [letter.to_json() for letter in self.letters],
        }


async def perform_show(saga_id: str, output: Output) -> int:
    async with saga_database() as store:
        saga = await show_saga(store, saga_id)
        if saga is None:
            raise no_such_saga(saga_id)
        letters = await list_letters(store, LetterFilter(statuses=None, saga_id=saga_id))
        now = await database_time(store)
    prospects = prospects_of(saga, letters, now)
    page = Page(saga=saga, letters=letters, prospects=prospects, now=now)
    if output is Output.JSON:
        print_json(page.to_json())
    else:
        print_parts(*parts_of(page))
    return ExitCode.DONE


def parts_of(page: Page) -> Iterator[RenderableType]:
    """The page from top to bottom."""
    yield _header(page.saga, page.now)
    if page.saga.steps:
        yield from _section("Steps", step_grid(page.saga, page.now))
    if page.prospects:
        yield from _section("Next", Group(*_prospects(page.prospects)))
    if page.letters:
        yield from _section("Dead letters", letter_listing(page.letters, page.now, of_saga=True))
    if page.saga.history:
        yield from _section("History", history_listing(page.saga.history, page.now))


def _section(title: str, content: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, style="bold")
    yield content


def _header(saga: SagaView, now: datetime) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value in _facts(saga, now):
        grid.add_row(label, value)
    return grid


def _facts(saga: SagaView, now: datetime) -> Iterator[tuple[str, Text]]:
    yield "Saga", text_of(saga.saga_id, "bold")
    yield "Type", text_of(saga.saga_type)
    yield "State", _state(saga, now)
    yield "Started", text_of(f"{stamp(saga.created_at)} ({ago(saga.created_at, now)})")
    if saga.ended_at:
        took = span(saga.ended_at - saga.created_at)
        yield "Ended", text_of(f"{stamp(saga.ended_at)}, after {took}")
    for lock in saga.locks:
        yield ("Holds" if lock.is_held else "Waits for"), _lock(lock, now)
    if saga.first_failure:
        where = f"{saga.first_failure.step}: " if saga.first_failure.step else ""
        yield "Failure", text_of(f"{where}{saga.first_failure.error}")
    if saga.cancel_reason:
        yield "Cancel", text_of(f"{saga.cancel_reason}{_until_it_turns(saga)}")
    yield "Data", _data(saga)


def _lock(lock: LockView, now: datetime) -> Text:
    since = f" since {clock(lock.since, now)} ({ago(lock.since, now)})"
    return Text.assemble(text_of(lock.name), since, text_of(_line_before(lock)))


def _line_before(lock: LockView) -> str:
    """Who has it, and who else waits."""
    holder = f", held by {lock.holder}" if lock.holder else ""
    ahead = f", {lock.ahead} before it in line" if lock.ahead else ""
    return f"{holder}{ahead}"


def _state(saga: SagaView, now: datetime) -> Text:
    turns = (line.at for line in saga.history if line.step is None and line.after == saga.state)
    since = next(turns, saga.created_at)
    when = f" since {clock(since, now)} ({ago(since, now)})"
    return Text.assemble(coloured(saga.state), when, _outcome(saga))


def _outcome(saga: SagaView) -> str:
    if saga.state != SagaState.FAILED:
        return ""
    if any(step.status == StepStatus.COMPENSATED for step in saga.steps):
        return ": all that was done is compensated"
    return ": nothing had to be compensated"


def _until_it_turns(saga: SagaView) -> str:
    if saga.state in {SagaState.STARTED, SagaState.PENDING}:
        return "; what is under way is awaited, then all is compensated"
    return ""


def _data(saga: SagaView) -> Text:
    text = clean(json.dumps(saga.data, ensure_ascii=False))
    if len(text) <= _SHOWN_DATA:
        return Text(text)
    rest = len(text) - _SHOWN_DATA
    return Text(f"{shortened(text, _SHOWN_DATA)} ({rest} more characters: -o json)")


def _prospects(prospects: Iterable[Prospect]) -> Iterator[Table]:
    for prospect in prospects:
        grid = Table.grid(padding=(0, 1, 0, 0))
        is_urgent = prospect.waiting_for in {Waiting.PERSON, Waiting.ORCHESTRATOR}
        style = "bold red" if is_urgent else "bold"
        grid.add_row(Text("→", style=style), text_of(prospect.text))
        yield grid
