"""Dead letters as tables and pages."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlq_worker.views import GroupView, LetterDetails, LetterView
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import coloured, text_of
from orchestrator.cli.wording import ago, clean, clock, shortened, stamp, times

_SHOWN_BODY: Final = 4000  # characters
_LETTERS: Final = (
    Column(title="id", is_number=True),
    Column(title="status"),
    Column(title="reason"),
    Column(title="saga"),
    Column(title="step", dropped=1),
    Column(title="replays", is_number=True, dropped=3),
    Column(title="seen", dropped=2),
    Column(title="error", is_elastic=True),
)
_GROUPS: Final = (
    Column(title="letters", is_number=True),
    Column(title="sagas", is_number=True),
    Column(title="reason"),
    Column(title="last seen", dropped=1),
    Column(title="example", is_number=True),
    Column(title="cause", is_elastic=True),
)


def letter_listing(
    letters: Iterable[LetterView], now: datetime, *, of_saga: bool = False
) -> Listing:
    """One line for each; those of one saga do not repeat its id."""
    rows = [_row(letter, now) for letter in letters]
    if not of_saga:
        return Listing(_LETTERS, rows)
    saga = next(index for index, column in enumerate(_LETTERS) if column.title == "saga")
    columns = [*_LETTERS[:saga], *_LETTERS[saga + 1 :]]
    return Listing(columns, [[*row[:saga], *row[saga + 1 :]] for row in rows])


def group_listing(groups: Iterable[GroupView], now: datetime) -> Listing:
    rows = (
        (
            str(group.letters),
            str(group.sagas),
            group.reason,
            ago(group.last_seen, now, units=1),
            str(group.example_id),
            group.signature,
        )
        for group in groups
    )
    return Listing(_GROUPS, rows)


def letter_parts(details: LetterDetails, now: datetime) -> Iterator[RenderableType]:
    """One letter from top to bottom."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value in _facts(details.view, now):
        grid.add_row(label, value)
    yield grid
    yield from _section("Message", _message(details))
    if details.actions:
        yield from _section("What was done about it", _actions(details, now))


def _row(view: LetterView, now: datetime) -> Sequence[str | Text | None]:
    stored, letter = view.stored, view.stored.letter
    return (
        str(view.id),
        coloured(stored.status.value),
        letter.reason,
        letter.saga_id,
        letter.step_name,
        str(stored.replays),
        ago(stored.last_seen, now, units=1),
        letter.error or "",
    )


def _facts(view: LetterView, now: datetime) -> Iterator[tuple[str, Text]]:
    stored, letter = view.stored, view.stored.letter
    yield "Dead letter", text_of(str(view.id), "bold")
    yield "Status", coloured(stored.status.value)
    yield "Reason", text_of(letter.reason)
    yield "Error", text_of(letter.error)
    yield "Saga", text_of(" ".join(filter(None, (letter.saga_id, letter.saga_type))) or None)
    yield "Step", text_of(" ".join(filter(None, (letter.step_name, letter.direction))) or None)
    yield "Command", text_of(letter.destination)
    yield "From", text_of(letter.queue or letter.routing_key)
    yield "First seen", text_of(f"{stamp(stored.first_seen)} ({ago(stored.first_seen, now)})")
    yield "Last seen", text_of(f"{clock(stored.last_seen, now)}, seen {times(stored.times_seen)}")
    yield "Replays", text_of(_replays(view, now))
    yield "Alert", _alert(view)
    if stored.closed_at:
        by = f"by {stored.closed_by}: {stored.closed_reason}"
        yield "Closed", text_of(f"{stamp(stored.closed_at)} {by}")
    yield "Cause", text_of(letter.signature)


def _replays(view: LetterView, now: datetime) -> str:
    look_at = view.stored.next_replay_at
    again = f", looked at again {ago(look_at, now)}" if look_at and look_at > now else ""
    return f"{view.stored.replays}{again}"


def _alert(view: LetterView) -> Text:
    alert = view.alert
    if alert is None:
        return text_of(None)
    mine = f", acknowledged by {alert.acknowledged_by}" if alert.acknowledged_by else ""
    sent = f"{alert.severity}, sent {times(alert.times_sent)}{mine}: {alert.summary}"
    return Text.assemble(coloured(alert.status), ", ", text_of(sent))


def _message(details: LetterDetails) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in sorted(details.headers.items()):
        grid.add_row(text_of(name), text_of(str(value)))
    letter = details.view.stored.letter
    body = clean(_readable(details.body))
    cut = "" if letter.is_whole and len(body) <= _SHOWN_BODY else f" ({letter.body_bytes} bytes)"
    grid.add_row("body", Text(f"{shortened(body, _SHOWN_BODY)}{cut}"))
    return grid


def _readable(body: str) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False)
    except ValueError:
        return body


def _actions(details: LetterDetails, now: datetime) -> Listing:
    columns = (
        Column(title="at"),
        Column(title="what"),
        Column(title="by"),
        Column(title="why", is_elastic=True),
    )
    rows = (
        (clock(action.at, now), action.action, action.by, action.reason or "")
        for action in details.actions
    )
    return Listing(columns, rows)


def _section(title: str, content: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, style="bold")
    yield content
