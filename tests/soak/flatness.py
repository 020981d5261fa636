"""Whether anything has grown that must not: judged on the samples. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.soak.samples import Growth, Sample

EARLY = (0.10, 0.15)
LATE = (0.95, 1.0)
"""The shares of all sagas between which the values count: after the first tenth, at the end."""
MOST_GROWTH = 0.10
"""Of memory; tables may differ more, for they are cleaned up from time to time."""
MOST_SIZE_GROWTH = 0.25
FEWEST_SAGAS = 20_000
"""A shorter run ends before programs and tables have their size; its growth is not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that must not grow, early and late, and at most how large it may be late."""

    name: str
    early: float
    late: float
    most: float

    @property
    def is_flat(self) -> bool:
        return self.late <= self.most


def measures(samples: Sequence[Sample], count: int, steady: Sequence[str]) -> Iterator[Measure]:
    """Of the steady daemons' memory, handles, threads and connections, and of the tables.

    None for a run that was too short to be looked at early and late.
    """
    early, late = within(samples, count, EARLY), within(samples, count, LATE)
    if not (any(each.tables for each in early) and any(each.tables for each in late)):
        return
    for daemon in steady:
        resident = _median_of(early, late, daemon, lambda growth: growth.resident / 2**20)
        yield Measure(
            name=f"{daemon}: resident MiB",
            early=resident[0],
            late=resident[1],
            most=resident[0] * (1 + MOST_GROWTH),
        )
        for name, value in COUNTS.items():
            before, after = _median_of(early, late, daemon, value)
            yield Measure(name=f"{daemon}: {name}", early=before, late=after, most=before + SLACK)
        before, after = _median_of(early, late, daemon, lambda growth: growth.database)
        yield Measure(
            name=f"{daemon}: connections to the database",
            early=before,
            late=after,
            most=POOLS[daemon.partition("-")[0]],
        )
    yield from _sizes(early, late)


SLACK = 3
COUNTS: Mapping[str, Callable[[Growth], float]] = {
    "handles beside connections": lambda growth: growth.handles - growth.broker - growth.database,
    "threads": lambda growth: growth.threads,
    "connections to the broker": lambda growth: growth.broker,
}
POOLS = {"orchestrator": 11, "participants": 41, "dlq": 11}
"""The most connections that a program's pool opens; it opens them as it needs them."""


def within(samples: Sequence[Sample], count: int, shares: tuple[float, float]) -> Sequence[Sample]:
    """The samples taken while so many of all sagas had ended."""
    first, last = (share * count for share in shares)
    return [sample for sample in samples if first <= sample.started <= last]


def _median_of(
    early: Sequence[Sample],
    late: Sequence[Sample],
    daemon: str,
    value: Callable[[Growth], float],
) -> tuple[float, float]:
    before, after = (
        median(value(each.daemons[daemon]) for each in some if daemon in each.daemons)
        for some in (early, late)
    )
    return before, after


def _sizes(early: Sequence[Sample], late: Sequence[Sample]) -> Iterator[Measure]:
    """Bytes for each saga: they stay the same if what is dead is used again."""
    before, after = ([each for each in some if each.tables is not None] for some in (early, late))
    for table in TABLES:
        size, later = (
            median(each.tables[table].size / each.started for each in some if each.tables)
            for some in (before, after)
        )
        yield Measure(
            name=f"table {table}: bytes for each saga",
            early=size,
            late=later,
            most=size * (1 + MOST_SIZE_GROWTH),
        )


TABLES = ("sagas", "saga_history", "saga_inbox")
