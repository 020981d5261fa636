"""The soak's section in docs/reliability.md, rendered from docs/soak.json."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORD = DOCS / "soak.json"
PAGE = DOCS / "reliability.md"
BEGIN = "<!-- soak: begin; written by `make soak RECORD=1` -->"
END = "<!-- soak: end -->"


def record(told: Mapping[str, Any]) -> None:
    """Keep this soak as the one that the page shows."""
    RECORD.write_text(json.dumps(told, indent=2) + "\n")
    PAGE.write_text(renewed(PAGE.read_text(), told))


def renewed(page: str, told: Mapping[str, Any]) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{section(told)}\n{END}{after}"


def section(told: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    parts = [
        f"`{told['command']}`, against {versions}:",
        _table([*COUNTS, "seconds", "sagas per second", "recovery, s"], [_counts(told)]),
        "The faults, drawn by the seed and played evenly over the whole run:",
        _table(["fault", "times"], told["faults_played"].items()),
    ]
    if told["measures"]:
        parts += [
            "What must not grow, after the first tenth of the sagas and after the last:",
            _table(["", "first tenth", "last tenth", "at most"], _measures(told)),
        ]
    parts += [
        MEMORY,
        _table(["tenth", *_steady(told), "messages ready, at most"], _tenths(told)),
    ]
    return "\n\n".join(parts) + "\n"


MEMORY = (
    "Resident memory in MiB of the daemons that lived from the beginning to the end, tenth by"
    " tenth (medians), and when all was quiet:"
)
COUNTS = ("sagas", "faults", "ended", "waiting", "lost", "doubled", "stuck", "problems")


def _counts(told: Mapping[str, Any]) -> Iterator[object]:
    yield from (told[name] for name in COUNTS)
    yield from (told["seconds"], told["sagas_per_second"], told["recovery_seconds"])


def _measures(told: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for each in told["measures"]:
        yield each["name"], each["early"], each["late"], each["most"]


def _steady(told: Mapping[str, Any]) -> list[str]:
    return [name for name in told["after"] if name.endswith("steady")]


def _tenths(told: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    for row in (*told["tenths"], {"tenth": "quiet", **told["after"]}):
        resident = [row[name]["resident_mib"] if name in row else "" for name in _steady(told)]
        yield row["tenth"], *resident, row["messages_ready_at_most"]


def _table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
