"""The tables of the page, as Markdown."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bench.contestants import CEILINGS
from bench.measuring import Measured
from bench.results import Run, Spread, measured_of, names_of, ratio_to, runs_of, spread_of

_RATES: Final = (
    "who",
    "sagas/s",
    *(f"of {ceiling}" for ceiling in CEILINGS),
    "p50 / p99, ms",
    "alone p50 / p99, ms",
    "runs",
)
PROGRAMS: Final = ("orchestrator", "participants", "broker", "postgres", "driver")


def section(told: Mapping[str, Any]) -> Iterator[str]:
    """Paragraphs: every workload, what it was measured on, and the settings of everybody."""
    for workload, one in told.items():
        runs = runs_of({workload: one})
        yield f"### {workload}"
        yield _about(one["details"])
        yield table(_RATES, _rows(workload, runs))
        yield "CPU of one saga in milliseconds, and peak memory:"
        yield table(("who", *PROGRAMS), _usage_rows(workload, runs))
        yield from _failures(runs)
        yield _origin(one["origin"])
    who = {name: about for one in told.values() for name, about in one["who"].items()}
    yield "### Who was measured"
    yield "\n".join(f"- **{name}**: {about}." for name, about in who.items())


def _about(details: Mapping[str, Any]) -> str:
    said = details["about"]
    numbers = f"{details['messages']:g} messages a saga, {details['concurrency']} in flight"
    return f"{said[0].upper()}{said[1:]}; {numbers}."


def _origin(origin: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    settings = ", ".join(f"{name}={value}" for name, value in origin["postgres"].items())
    return (
        f"`{origin['command']}`, {origin['at']}, commit {origin['commit']}, on "
        f"{origin['machine']}; niceness {origin['niceness']}, load before "
        f"{origin['load before']}. {versions}. PostgreSQL: {settings}."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(head), _line(["---", *["--:"] * (len(head) - 1)]), *map(_line, rows)]
    return "\n".join(lines)


def _rows(workload: str, runs: Sequence[Run]) -> Iterator[Sequence[str]]:
    for contestant in names_of(runs):
        measured = measured_of(runs, workload, contestant)
        ratios = [ratio_to(runs, workload, contestant, ceiling) for ceiling in CEILINGS]
        yield (
            contestant,
            spread(spread_of(measured, lambda each: each.rate)),
            *(spread(ratio, scale=100, unit=" %") for ratio in ratios),
            _pair(measured, lambda each: each.p50, lambda each: each.p99),
            _pair(measured, lambda each: each.lone_p50, lambda each: each.lone_p99),
            str(len(measured)),
        )


def _usage_rows(workload: str, runs: Sequence[Run]) -> Iterator[Sequence[str]]:
    for contestant in names_of(runs):
        measured = measured_of(runs, workload, contestant)
        yield contestant, *(_used(measured, program) for program in PROGRAMS)


def _used(measured: Sequence[Measured], program: str) -> str:
    cpu = spread_of(measured, lambda each: each.cpu.get(program, 0.0))
    peak = spread_of(measured, lambda each: each.peak.get(program, 0.0))
    if cpu is None or peak is None or not any(program in each.cpu for each in measured):
        return "–"
    memory = "" if program in {"driver", "postgres"} else f" · {peak.highest:.0f} MB"
    return f"{cpu.median:.2f}{memory}"


def _failures(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        if run.problem:
            first = run.problem.splitlines()[0]
            yield f"**{run.contestant}**, round {run.round}, could not be measured: {first}"


def spread(found: Spread | None, *, scale: float = 1, unit: str = "") -> str:
    """`median [lowest–highest]`."""
    if found is None:
        return "–"
    median, lowest, highest = (
        _number(value * scale) for value in (found.median, found.lowest, found.highest)
    )
    return f"{median}{unit} [{lowest}–{highest}]"


def _pair(
    measured: Sequence[Measured],
    first: Callable[[Measured], float],
    second: Callable[[Measured], float],
) -> str:
    low, high = spread_of(measured, first), spread_of(measured, second)
    if low is None or high is None or not high.median:
        return "–"
    return f"{_number(low.median)} / {_number(high.median)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
