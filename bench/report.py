"""The page: the runs of this time beside it as JSON, tables and plots made from them."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.measuring import Measured
from bench.plots import Point, bars, lines
from bench.results import Run, measured_of, names_of, runs_of, spread_of
from bench.tables import section
from bench.workloads import Workload

BEGIN: Final = "<!-- begin of the measurements -->"
END: Final = "<!-- end of the measurements -->"
_ROOT: Final = Path(__file__).resolve().parents[1]


def told_of(
    surroundings: Mapping[str, Any],
    workloads: Sequence[Workload],
    runs: Sequence[Run],
    who: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that is known of these runs, by workload, ready for JSON."""
    origin = {
        **surroundings,
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
    }
    told = {}
    for each in workloads:
        chosen = [run for run in runs if run.workload == each.name]
        told[each.name] = {
            "origin": origin,
            "details": _details(each),
            "who": {run.contestant: who[run.contestant] for run in chosen},
            "runs": [asdict(run) for run in chosen],
        }
    return told


def _details(workload: Workload) -> dict[str, Any]:
    details: dict[str, Any] = asdict(workload)
    return {**details, "mixture": list(workload.mixture), "messages": workload.messages}


def renew(page: Path, told: Mapping[str, Any]) -> None:
    """Write JSON and plots beside the page, and its part between the markers anew.

    Workloads that were measured at other times stay; those of this time take their places.
    """
    beside = page.with_suffix(".json")
    kept = json.loads(beside.read_text()) if beside.exists() else {}
    told = {**kept, **told}
    beside.write_text(json.dumps(told, indent=1) + "\n")
    drawn = dict(plots_of(told))
    for name, plot in drawn.items():
        page.with_name(f"{page.stem}-{name}.svg").write_text(plot)
    page.write_text(with_measurements(page.read_text(), told, list(drawn)))


def with_measurements(text: str, told: Mapping[str, Any], plots: Sequence[str]) -> str:
    """The page with these measurements between its markers. ValueError without markers."""
    if BEGIN not in text or END not in text:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r} to write between")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    images = [f"![{name}](performance-{name}.svg)" for name in plots]
    parts = "\n\n".join([*section(told), *images])
    return f"{before}{BEGIN}\n\n{parts}\n\n{END}{after}"


def plots_of(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """By name: who does how much, and what throughput depends on."""
    runs = runs_of(told)
    found = {name: spread_of(measured_of(runs, "line", name), _rate) for name in names_of(runs)}
    if rates := {name: rate for name, rate in found.items() if rate}:
        yield "line", bars("Sagas a second, four durable steps", rates)
    for key, axis in (
        ("concurrency", "sagas in flight"),
        ("finished", "finished sagas in the tables"),
        ("payload", "bytes more in every command"),
        ("workers", "orchestrators"),
    ):
        series = _series(told, runs, key)
        if series:
            yield key, lines(f"Sagas a second against {axis}", axis, "sagas/s", series)


def _series(
    told: Mapping[str, Any], runs: Sequence[Run], key: str
) -> Mapping[str, Sequence[Point]]:
    """Of workloads that differ from the main one in nothing that matters but `key`; of those
    who were measured at two places at least."""
    names = [name for name in told if name.startswith(_PREFIXES[key])]
    chosen = {told[name]["details"][key]: name for name in ("line", *names) if name in told}
    return {
        name: sorted(points, key=lambda point: point.at)
        for name in names_of(runs)
        if len(points := list(_points(runs, name, chosen))) > 1
    }


def _points(runs: Sequence[Run], contestant: str, chosen: Mapping[int, str]) -> Iterator[Point]:
    for at, workload in chosen.items():
        if value := spread_of(measured_of(runs, workload, contestant), _rate):
            yield Point(at=at, value=value)


_PREFIXES: Final = {
    "concurrency": "at-a-time-",
    "finished": "finished-",
    "payload": "payload-",
    "workers": "workers-",
}


def _rate(measured: Measured) -> float:
    return measured.rate


def _commit() -> str:
    """Of the tree that was measured; a star if it has changes that are not committed."""
    git = ["git", "-C", str(_ROOT)]
    try:
        short = [*git, "rev-parse", "--short", "HEAD"]
        head = subprocess.run(short, capture_output=True, text=True, check=False)
        dirty = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False)
    except OSError:
        return "unknown"
    return f"{head.stdout.strip() or 'unknown'}{'*' if dirty.returncode else ''}"
