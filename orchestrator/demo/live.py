"""What a person at a terminal sees while the demo runs. Elsewhere: nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.demo.tally import Tally
from orchestrator.saga.state import SagaState

_EVERY: Final = 0.1  # seconds
_BAR: Final = 40


@asynccontextmanager
async def shown_live(tally: Tally, console: Console | None) -> AsyncIterator[None]:
    """Show the tally meanwhile, if somebody can see it; it leaves no trace."""
    if console is None or not (console.is_interactive and console.file.isatty()):
        yield
        return
    began = time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawing = asyncio.create_task(_draw(live, tally, began), name="display")
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])


async def _draw(live: Live, tally: Tally, began: float) -> None:
    while True:
        live.update(picture(tally, time.monotonic() - began), refresh=True)
        await asyncio.sleep(_EVERY)


def picture(tally: Tally, seconds: float) -> RenderableType:
    """The tally at one moment."""
    return Group(_progress(tally, seconds), _states(tally), Text(_doing(tally), style="dim"))


def _progress(tally: Tally, seconds: float) -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=tally.expected, completed=tally.ended, width=_BAR)
    line.add_row(bar, f"{tally.ended} of {tally.expected} ended", Text(f"{seconds:.1f} s"))
    return line


def _states(tally: Tally) -> Text:
    compensating = tally.count(SagaState.COMPENSATING)
    forward = tally.begun - tally.ended - compensating
    parts = [
        (f"completed {tally.count(SagaState.COMPLETED)}", "green"),
        (f"failed {tally.count(SagaState.FAILED)}", "red"),
        (f"compensating {compensating}", "yellow"),
        (f"going forward {forward}", "cyan"),
    ]
    return Text("   ").join(Text(words, style=style) for words, style in parts)


def _doing(tally: Tally) -> str:
    if tally.begun == 0:
        return "the programs are starting"
    if tally.placed == tally.expected and 0 < tally.under_way <= len(tally.given_up):
        return "a refund is a dead letter: its worker tries again, and then calls a person"
    handled = sum(tally.commands.values())
    again = f", {tally.retries} compensations tried again" if tally.retries else ""
    return f"{handled} commands handled{again}"
