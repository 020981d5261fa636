"""The work of `saga drill`, and how its results look."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chassis.exit_codes import ExitCode
from orchestrator.cli.listing import Column, Listing
from orchestrator.cli.output import Output, print_json, print_line, print_parts, text_of
from orchestrator.testing.drill.loading import load_drills
from orchestrator.testing.drill.matrix import Cell, Wanted, cells_of
from orchestrator.testing.drill.results import (
    Explained,
    Result,
    Verdict,
    explained,
    in_order,
    results_of,
)

_STYLES: Final = {Verdict.PASSED: "green", Verdict.BROKE: "bold red", Verdict.NOT_REACHED: "dim"}
_SHOWN: Final = {Verdict.PASSED: "ok", Verdict.BROKE: "BROKE", Verdict.NOT_REACHED: "·"}
_SHOWN_CELLS: Final = 6  # of a mistake, where else it shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says."""

    targets: Sequence[str]
    inputs: Sequence[Mapping[str, Any]]
    steps: Sequence[str]
    faults: Sequence[str]
    examples: Sequence[str]
    is_guarded: bool

    @property
    def named_inputs(self) -> Mapping[str, Mapping[str, Any]]:
        return {f"example {number}": data for number, data in enumerate(self.inputs, start=1)}


async def perform_drill(asked: Asked, output: Output, *, is_list: bool) -> int:
    drills = load_drills(asked.targets, asked.named_inputs, is_guarded=asked.is_guarded)
    wanted = Wanted(steps=asked.steps, faults=asked.faults, examples=asked.examples)
    cells = cells_of(drills, wanted)
    if is_list:
        return _listed(cells, output)
    results = await _tried(cells)
    if output is Output.JSON:
        print_json(_as_json(results))
    else:
        _print(results)
    return ExitCode.NOT_SO if _count(results, Verdict.BROKE) else ExitCode.DONE


async def _tried(cells: Sequence[Cell]) -> Sequence[Result]:
    """All results; on a terminal, how far it is meanwhile."""
    found: list[Result] = []
    async for result in results_of(cells):
        found.append(result)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{len(found)} of {len(cells)}\033[K")
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    return found


def _listed(cells: Sequence[Cell], output: Output) -> int:
    if output is Output.JSON:
        print_json({"cells": [_named(cell) for cell in cells]})
        return ExitCode.DONE
    for cell in cells:
        print_line(cell.name)
    return ExitCode.DONE


def _named(cell: Cell) -> Mapping[str, str | None]:
    return {
        "saga_type": cell.drill.name,
        "example": cell.example,
        "step": cell.step,
        "fault": cell.fault.name,
    }


def _as_json(results: Sequence[Result]) -> Mapping[str, Any]:
    return {
        "passed": _count(results, Verdict.PASSED),
        "broke": _count(results, Verdict.BROKE),
        "not_reached": _count(results, Verdict.NOT_REACHED),
        "cells": [each.to_json() for each in results],
    }


def _print(results: Sequence[Result]) -> None:
    tables: dict[tuple[int, str], list[Result]] = {}
    for each in results:
        tables.setdefault((id(each.cell.drill), each.cell.example), []).append(each)
    for (_, example), found in tables.items():
        title = f"{found[0].cell.drill.name}: {example}"
        print_parts(text_of(title, "bold"), _table(found), Text(""))
    for number, mistake in enumerate(explained(results), start=1):
        print_parts(*_told(number, mistake), Text(""))
    print_line(_summary(results))


def _table(results: Sequence[Result]) -> Listing:
    """A row for each fault, a column for each step; a dash where there is nothing to try."""
    steps = list(dict.fromkeys(each.cell.step for each in results))
    by_place = {(each.cell.fault.name, each.cell.step): each for each in results}
    columns = [Column(title="fault"), *(Column(title=step or "(start)") for step in steps)]
    faults = in_order({each.cell.fault.name for each in results})
    rows = [
        [text_of(name), *(_cell(by_place.get((name, step))) for step in steps)] for name in faults
    ]
    return Listing(columns, rows)


def _cell(result: Result | None) -> Text | None:
    if result is None:
        return None
    return text_of(_SHOWN[result.verdict], _STYLES[result.verdict])


def _told(number: int, one: Explained) -> Iterator[RenderableType]:
    """One mistake: the shortest story of it, and where else it shows."""
    title = f"{number}. {one.mistake.value.name}" + (f": {one.step}" if one.step else "")
    yield text_of(title, "bold red")
    yield text_of(f"{one.shortest.cell.name}: {one.shortest.cell.fault.told}")
    story = Table.grid(padding=(0, 2, 0, 0))
    story.add_column(justify="right")
    story.add_column(overflow="fold")
    for place, line in enumerate(one.shortest.story, start=1):
        story.add_row(text_of(str(place), "dim"), text_of(line))
    yield Padding(story, (0, 0, 0, 2))
    if one.elsewhere:
        names = [f"{each.cell.step or '(start)'}/{each.cell.fault.name}" for each in one.elsewhere]
        more = f" and {len(names) - _SHOWN_CELLS} more" if len(names) > _SHOWN_CELLS else ""
        yield text_of(f"also: {', '.join(names[:_SHOWN_CELLS])}{more}")


def _summary(results: Sequence[Result]) -> str:
    counts = Counter(each.verdict for each in results)
    told = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
    return f"{len(results)} runs: {', '.join(told) or 'nothing to try'}"


def _count(results: Sequence[Result], verdict: Verdict) -> int:
    return sum(each.verdict is verdict for each in results)
