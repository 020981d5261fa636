"""The findings as a page for people, in a terminal or in a file."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from dlq_worker.views import LetterView
from orchestrator.demo.findings import Findings, Outcome
from orchestrator.demo.ledgers import Audit, amount, standing
from orchestrator.demo.orders import Ending

_GAP: Final = 2
_MOST_LINES: Final = 10
_SHOWN: Final = (Ending.COMPLETED, Ending.FAILED, Ending.HALTED)
_STYLES: Final = {
    Ending.COMPLETED: "green",
    Ending.FAILED: "red",
    Ending.HALTED: "bold yellow",
    Ending.UNFINISHED: "bold red",
}


def page_of(findings: Findings, commands: Sequence[str], console: Console) -> str:
    """As wide as the console, but a command is never broken: it is there to be pasted."""
    with console.capture() as captured:
        for part in _parts(findings):
            console.print(part)
        for command in commands:
            console.print(Text(f"  {command}", style="bold"), soft_wrap=True)
        if findings.letters:
            console.print("An orchestrator would then undo the rest; the demo's has stopped.")
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _parts(findings: Findings) -> Iterator[RenderableType]:
    yield _outcomes(findings.outcomes)
    yield Text()
    yield from _how_it_went(findings)
    for letter in findings.letters:
        yield from _heading("Dead letter")
        yield _letter(letter)
    yield from _heading("Books")
    yield _ledgers(findings.books)
    yield Text()
    yield from _balance(findings)
    yield from _listed("Not as expected", findings.problems, "bold red")
    yield from _listed("Unexpected", findings.remarks, "yellow")
    yield from _heading("To go on")


def _heading(title: str) -> Iterator[Text]:
    yield Text()
    yield Text(title, style="bold")


def _outcomes(outcomes: Sequence[Outcome]) -> Table:
    has_unfinished = any(outcome.endings.get(Ending.UNFINISHED) for outcome in outcomes)
    endings = (*_SHOWN, Ending.UNFINISHED) if has_unfinished else _SHOWN
    table = _table("orders", "number", *endings)
    table.add_column("AS EXPECTED")
    for outcome in outcomes:
        counts = [_count(outcome.endings.get(ending, 0), _STYLES[ending]) for ending in endings]
        answer = Text("yes", "green") if outcome.is_as_expected else Text("NO", "bold red")
        table.add_row(outcome.kind.title, str(outcome.orders), *counts, answer)
    return table


def _how_it_went(findings: Findings) -> Iterator[Text]:
    pace = findings.pace
    if pace is not None:
        took = _seconds(pace.took)
        yield Text(f"{pace.ended} ended in {took}: {pace.per_second:.0f} a second.")
        median, most = _seconds(pace.median), _seconds(pace.most)
        yield Text(f"Half of them took {median} or less, 95 of 100 took {most} or less.")
    yield Text(
        f"Commands handled: {findings.commands:,}. Compensations: {findings.compensations:,},"
        f" {findings.retries} of them tried again."
    )


def _letter(view: LetterView) -> Table:
    letter, stored = view.stored.letter, view.stored
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("  what", f"number {view.id}: {letter.reason}, {letter.destination}")
    grid.add_row("  where", f"step {letter.step_name} of {letter.saga_id}")
    grid.add_row("  error", Text(letter.error or "-"))
    replays = f"{stored.replays} times by the DLQ worker"
    grid.add_row("  tried", f"{letter.attempt} times by the orchestrator, then {replays}")
    grid.add_row("  alert", _alert(view))
    return grid


def _alert(view: LetterView) -> Text:
    alert = view.alert
    if alert is None:
        return Text("none", style="bold red")
    return Text.assemble((alert.severity, "bold yellow"), f": {alert.summary}")


def _ledgers(books: Audit) -> Table:
    table = _table("ledger", "done", "undone", "stand", "due")
    for line in books.lines:
        style = "green" if line.stands == line.due else "bold red"
        stands, due = Text(str(line.stands), style), Text(str(line.due), style)
        table.add_row(line.step, str(line.done), str(line.undone), stands, due)
    return table


def _balance(findings: Findings) -> Iterator[Text]:
    books, money = findings.books, findings.books.money
    if books.is_balanced:
        yield Text("The books balance.", style="bold green")
        yield Text(
            "Each effect of a completed order stands, once; of a failed one, nothing is left."
        )
    else:
        yield from _lines("The books do not balance:", books.problems, "bold red")
    yield Text(
        f"Charged {amount(money.charged)}, refunded {amount(money.refunded)}, kept"
        f" {amount(money.kept)}; {amount(money.due)} is due."
    )
    for saga_id, account in books.half_undone.items():
        yield Text(f"{saga_id} is half undone until a person resolves it:")
        yield Text(f"  undone          {', '.join(account.undone) or '-'}")
        yield Text(f"  still standing  {', '.join(standing(account)) or '-'}")


def _listed(title: str, lines: Sequence[str], style: str) -> Iterator[Text]:
    if lines:
        yield Text()
        yield from _lines(title, lines, style)


def _lines(title: str, lines: Sequence[str], style: str) -> Iterator[Text]:
    yield Text(title, style=style)
    yield from (Text(f"  {line}") for line in lines[:_MOST_LINES])
    if len(lines) > _MOST_LINES:
        yield Text(f"  and {len(lines) - _MOST_LINES} more")


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    table.add_column(first.upper(), overflow="fold")
    for title in numbers:
        table.add_column(title.upper(), justify="right", no_wrap=True)
    return table


def _count(number: int, style: str) -> Text:
    return Text(str(number), style=style) if number else Text("-", style="dim")


def _seconds(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
