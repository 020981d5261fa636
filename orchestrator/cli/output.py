"""What commands print: tables by rich for people, JSON for scripts."""

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.wording import clean

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# Nothing is cut or wrapped in what another program reads.
_UNBOUNDED: Final = 100_000

STYLES: Final = {
    "started": "cyan",
    "pending": "cyan",
    "executing": "cyan",
    "completed": "green",
    "compensating": "yellow",
    "compensated": "yellow",
    "failed": "red",
    "compensation_failed": "bold red",
    "open": "red",
    "quiet": "bold red",
    "replaying": "yellow",
    "resolved": "green",
    "ok": "green",
    "warning": "yellow",
    "problem": "bold red",
}


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_line(line: str) -> None:
    """One line that scripts may read as well, at once: more may be long in coming."""
    print(clean(line), flush=True)


def print_parts(*parts: "RenderableType") -> None:
    """Lines, tables and texts one below the other. Colour only on a terminal."""
    sys.stdout.write(rendered(*parts))


def rendered(*parts: "RenderableType", width: int | None = None) -> str:
    """The parts as text, by default as wide as the terminal, or without limit in a pipe."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width)
    if width is None and not console.is_terminal:
        console.width = _UNBOUNDED
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def text_of(cell: "str | Text | None", style: str = "") -> "Text":
    """A cell that says what it was given: no markup, no control characters."""
    from rich.text import Text

    if isinstance(cell, Text):
        return cell
    return Text("-", style="dim") if cell is None else Text(clean(cell), style=style)


def coloured(word: str) -> "Text":
    """A state, in the colour that it has everywhere."""
    return text_of(word, STYLES.get(word, ""))
