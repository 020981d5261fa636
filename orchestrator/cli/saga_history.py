"""The history of a saga, as a table."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rich.text import Text

from orchestrator.cli.attempts import is_sending
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import coloured, text_of
from orchestrator.cli.wording import clock
from orchestrator.store.views import HistoryLine

_COLUMNS: Final = (
    Column(title="", is_number=True),
    Column(title="at"),
    Column(title="step"),
    Column(title="change"),
    Column(title="note", is_elastic=True),
)


def history_listing(history: Iterable[HistoryLine], now: datetime) -> Listing:
    rows = (
        (
            str(line.version),
            clock(line.at, now),
            text_of(line.step) if line.step else text_of("saga", "bold"),
            _change(line),
            _note(line),
        )
        for line in history
    )
    return Listing(_COLUMNS, rows)


def _change(line: HistoryLine) -> Text:
    if line.before == line.after:
        return coloured(line.after)
    return Text.assemble(line.before, " → ", coloured(line.after))


def _note(line: HistoryLine) -> Text:
    parts = [line.note or ""]
    if line.error and line.error not in parts[0] and not is_sending(line):
        parts.append(line.error)
    said = ": ".join(part for part in parts if part)
    by = f"by {line.actor}" if line.actor else ""
    return text_of(", ".join(part for part in (said, by) if part))
