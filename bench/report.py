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
from bench.results import Run, measured_of, spread_of
from bench.tables import section
from bench.workloads import Workload

BEGIN: Final = "<!-- begin of the measurements -->"
END: Final = "<!-- end of the measurements -->"
_ROOT: Final = Path(__file__).resolve().parents[1]


def told_of(
    surroundings: Mapping[str, Any], workloads: Sequence[Workload], runs: Sequence[Run]
) -> dict[str, Any]:
    """Everything that is known of these runs, ready for JSON."""
    return {
        **surroundings,
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "workloads": {each.name: {**asdict(each), "messages": each.messages} for each in workloads},
        "runs": [asdict(run) for run in runs],
    }


def runs_of(told: Mapping[str, Any]) -> Sequence[Run]:
    """What `told_of` was made from."""
    return [
        Run(**{**run, "measured": Measured(**run["measured"]) if run["measured"] else None})
        for run in told["runs"]
    ]


def renew(page: Path, told: Mapping[str, Any]) -> None:
    """Write JSON and plots beside the page, and its part between the markers anew."""
    page.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
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
    parts = "\n\n".join([*section(told, runs_of(told)), *images])
    return f"{before}{BEGIN}\n\n{parts}\n\n{END}{after}"


def plots_of(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """By name: who does how much, and what throughput depends on."""
    runs = runs_of(told)
    for workload in told["workloads"]:
        if workload == "line":
            rates = {
                name: rate
                for name in _contestants(runs)
                if (rate := spread_of(measured_of(runs, workload, name), _rate))
            }
            if rates:
                yield "line", bars("Sagas a second, four durable steps", rates)
    for key, axis in (
        ("concurrency", "sagas in flight"),
        ("finished", "finished sagas in the tables"),
        ("payload", "bytes more in every command"),
        ("workers", "orchestrators"),
    ):
        series = _series(told, runs, key)
        if any(len(points) > 1 for points in series.values()):
            yield key, lines(f"Sagas a second against {axis}", axis, "sagas/s", series)


def _series(
    told: Mapping[str, Any], runs: Sequence[Run], key: str
) -> Mapping[str, Sequence[Point]]:
    """Of workloads that differ from the main one in nothing that matters but `key`."""
    chosen = {
        name: details[key]
        for name, details in told["workloads"].items()
        if name == "line" or name.startswith(_PREFIXES[key])
    }
    return {
        name: sorted(points, key=lambda point: point.at)
        for name in _contestants(runs)
        if (points := list(_points(runs, name, chosen)))
    }


def _points(runs: Sequence[Run], contestant: str, chosen: Mapping[str, int]) -> Iterator[Point]:
    for workload, at in chosen.items():
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


def _contestants(runs: Sequence[Run]) -> Sequence[str]:
    return list(dict.fromkeys(run.contestant for run in runs))


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
