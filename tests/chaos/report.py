"""The table in docs/reliability.md, from results that are kept beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.playing import Played
from tests.chaos.scenario import LeftOut, Scenario, all_left_out, all_scenarios

BEGIN, END = "<!-- begin of the table -->", "<!-- end of the table -->"
_HEAD = (
    "| # | scenario | what is done | sagas | faults | recovery | lost | doubled | stuck |\n"
    "|--:|---|---|--:|--:|--:|--:|--:|--:|"
)
_HEAD_LEFT_OUT = "| # | scenario | why it is not played |\n|--:|---|---|"


def renew(page: Path, played: Played) -> None:
    """Enter one result, and write the table anew."""
    kept = results_beside(page)
    verdict = played.verdict
    kept[played.scenario.name] = {
        "seed": played.seed,
        "sagas": verdict.sagas,
        "faults": verdict.faults,
        "parked": verdict.parked,
        "recovery_seconds": round(verdict.recovery_seconds, 1),
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled),
        "stuck": len(verdict.stuck),
        "problems": len(verdict.problems),
    }
    _results_path(page).write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    page.write_text(with_table(page.read_text(), kept))


def results_beside(page: Path) -> dict[str, dict[str, Any]]:
    path = _results_path(page)
    return json.loads(path.read_text()) if path.exists() else {}


def with_table(text: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page, its table made from these results."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_tables(results, all_scenarios(), all_left_out())}\n\n{END}{after}"


def _tables(
    results: Mapping[str, Mapping[str, Any]],
    scenarios: Sequence[Scenario],
    left_out: Sequence[LeftOut],
) -> str:
    rows = [_row(each, results[each.name]) for each in scenarios if each.name in results]
    out = [f"| {each.number} | `{each.name}` | {each.why} |" for each in left_out]
    tables = [[_HEAD, *rows], *([[_HEAD_LEFT_OUT, *out]] if out else [])]
    return "\n\n".join("\n".join(table) for table in tables)


def _row(scenario: Scenario, result: Mapping[str, Any]) -> str:
    return (
        f"| {scenario.number} | `{scenario.name}` | {scenario.fault} | {result['sagas']} "
        f"| {result['faults']} | {result['recovery_seconds']:.1f} s | {result['lost']} "
        f"| {result['doubled']} | {result['stuck']} |"
    )


def _results_path(page: Path) -> Path:
    return page.with_suffix(".json")
