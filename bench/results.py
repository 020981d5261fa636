"""What came out of the rounds: medians with their spread, ratios to the ceilings."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measuring import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run; without numbers, why there are none."""

    contestant: str
    workload: str
    round: int
    measured: Measured | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median, and what lay lowest and highest."""

    median: float
    lowest: float
    highest: float


def runs_of(told: Mapping[str, Any]) -> Sequence[Run]:
    """All runs of a report, as they were before they became JSON."""
    return [
        Run(**{**run, "measured": Measured(**run["measured"]) if run["measured"] else None})
        for one in told.values()
        for run in one["runs"]
    ]


def names_of(runs: Sequence[Run]) -> Sequence[str]:
    """Who was measured, each once, in their order."""
    return list(dict.fromkeys(run.contestant for run in runs))


def measured_of(runs: Sequence[Run], workload: str, contestant: str) -> Sequence[Measured]:
    return [
        run.measured
        for run in runs
        if (run.workload, run.contestant) == (workload, contestant) and run.measured
    ]


def spread_of(measured: Sequence[Measured], value: Callable[[Measured], float]) -> Spread | None:
    """None if nothing was measured."""
    values = [value(each) for each in measured]
    if not values:
        return None
    return Spread(median=statistics.median(values), lowest=min(values), highest=max(values))


def ratio_to(runs: Sequence[Run], workload: str, contestant: str, ceiling: str) -> Spread | None:
    """To the ceiling of the same round: minutes differ. None if there is no such round."""
    rates = _rates(runs, workload, contestant)
    ceilings = _rates(runs, workload, ceiling)
    ratios = [rates[number] / ceilings[number] for number in rates.keys() & ceilings.keys()]
    if not ratios:
        return None
    return Spread(median=statistics.median(ratios), lowest=min(ratios), highest=max(ratios))


def _rates(runs: Sequence[Run], workload: str, contestant: str) -> dict[int, float]:
    return {
        run.round: run.measured.rate
        for run in runs
        if (run.workload, run.contestant) == (workload, contestant) and run.measured
    }
