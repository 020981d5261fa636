"""Listings: rows below their titles, that never cut an id however narrow the terminal is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.cli.output import text_of

_GAP: Final = 2
_INDENT: Final = 4
_ENOUGH: Final = 30  # below that, an elastic column goes below its row


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column, and how it gives way where the terminal is narrow."""

    title: str
    is_number: bool = False
    is_elastic: bool = False  # the last one: it wraps, or goes below its row
    dropped: int = 0  # left out, those with the highest number first; 0: never


class Listing:
    """A table that rich draws as wide as there is room; a missing value is a dash."""

    def __init__(
        self, columns: Sequence[Column], rows: Iterable[Sequence[str | Text | None]]
    ) -> None:
        self._columns = columns
        self._rows = [[text_of(cell) for cell in row] for row in rows]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        kept = self._kept(options.max_width)
        elastic = next((index for index in kept if self._columns[index].is_elastic), None)
        fixed = [index for index in kept if index != elastic]
        if elastic is None:
            yield self._table(fixed, self._rows)
            return
        room = options.max_width - self._width_of(fixed) - _GAP
        if room >= min(_ENOUGH, self._width(elastic)):
            yield self._table([*fixed, elastic], self._rows)
        else:
            yield from self._stacked(fixed, elastic, room)

    def _kept(self, room: int) -> list[int]:
        """The columns that fit side by side, but for the elastic one."""
        kept = list(range(len(self._columns)))
        droppable = [index for index in kept if self._columns[index].dropped]
        for index in sorted(droppable, key=lambda each: -self._columns[each].dropped):
            if self._width_of([each for each in kept if self._is_fixed(each)]) <= room:
                break
            kept.remove(index)
        return kept

    def _is_fixed(self, index: int) -> bool:
        return not self._columns[index].is_elastic

    def _width(self, index: int) -> int:
        cells = [row[index].cell_len for row in self._rows]
        return max([len(self._columns[index].title), *cells])

    def _width_of(self, indexes: Sequence[int]) -> int:
        return sum(self._width(index) + _GAP for index in indexes) - _GAP

    def _table(self, indexes: Sequence[int], rows: Sequence[Sequence[Text]]) -> Table:
        made = Table(
            box=None,
            pad_edge=False,
            padding=(0, _GAP, 0, 0),
            header_style="bold",
            show_header=rows is self._rows,
        )
        for index in indexes:
            column = self._columns[index]
            made.add_column(
                column.title.upper(),
                justify="right" if column.is_number else "left",
                overflow="fold",
                min_width=self._width(index) if self._is_fixed(index) else None,
            )
        for row in rows:
            made.add_row(*(row[index] for index in indexes))
        return made

    def _stacked(self, fixed: Sequence[int], elastic: int, room: int) -> Iterator[RenderableType]:
        """Each row followed by its text, on lines of its own where it does not fit beside it."""
        titles = [text_of(column.title.upper(), "bold") for column in self._columns]
        for row in [titles, *self._rows]:
            if row[elastic].cell_len <= room:
                yield self._table([*fixed, elastic], [row])
            else:
                yield self._table(fixed, [row])
                yield Padding(row[elastic], (0, 0, 0, _INDENT))
