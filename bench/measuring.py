"""One run: a site, a contestant at work on it, load, audit, numbers."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.audit import audit_database, audit_letters, audit_outcomes
from bench.contestants import CONTESTANTS, Contestant, at_work
from bench.driver import BrokenRun, Driven, Effort, drive, prefix_of
from bench.loops import run
from bench.past import fill
from bench.processes import Families, Usage, usage_of
from bench.sites import Servers, Site, new_site
from bench.workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The numbers of one run. Milliseconds for times, megabytes for memory."""

    rate: float  # sagas a second
    p50: float
    p99: float
    lone_p50: float
    lone_p99: float
    sagas: int  # within the window
    cpu: Mapping[str, float] = field(default_factory=dict)  # of one saga, by what used it
    cores: Mapping[str, float] = field(default_factory=dict)
    peak: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What all runs of one workload have in common."""

    workload: Workload
    effort: Effort
    servers: Servers
    saga_database: str | None = None  # that has a past; without one, each run has a new one


def measure(contestant: Contestant, conditions: Conditions, folder: Path) -> Measured:
    """Raises BrokenRun, or whatever else kept it from being measured."""
    workload, servers = conditions.workload, conditions.servers
    folder.mkdir(parents=True, exist_ok=True)
    with new_site(servers, conditions.saga_database) as site:
        with at_work(contestant, site, workload, folder) as programs:
            families = {**programs, **servers.families}
            edges: list[dict[str, Usage]] = []
            driven = run(_drive(site, workload, conditions.effort, families, edges))
            peaks = usage_of(families)
            audit_outcomes(driven, workload)
            asyncio.run(audit_letters(site))
            if contestant.is_countermand:
                audit_database(site, driven, workload)
        return numbers_of(driven, edges, peaks)


@contextmanager
def with_a_past(conditions: Conditions, folder: Path) -> Iterator[Conditions]:
    """The same on a database in which as many sagas have ended as the workload says."""
    workload = conditions.workload
    if not workload.finished:
        yield conditions
        return
    folder.mkdir(parents=True, exist_ok=True)
    first = replace(workload, name="first", concurrency=1, workers=1)
    one = Effort(sagas=1, warm_up=0, lone=0)
    with new_site(conditions.servers) as site:
        with at_work(CONTESTANTS["countermand"], site, first, folder):
            run(drive(site.servers.amqp_url, site.names, first, one, at_edge=lambda: None))
        print(f"writing {workload.finished:,} finished sagas", flush=True)
        fill(site.saga_database, f"{prefix_of(site.names, first)}-0", workload.finished)
        yield replace(conditions, saga_database=site.saga_database)


async def _drive(
    site: Site,
    workload: Workload,
    effort: Effort,
    families: Families,
    edges: list[dict[str, Usage]],
) -> Driven:
    def at_edge() -> None:
        edges.append(usage_of(families))

    return await drive(site.servers.amqp_url, site.names, workload, effort, at_edge=at_edge)


def numbers_of(
    driven: Driven, edges: Sequence[Mapping[str, Usage]], peaks: Mapping[str, Usage]
) -> Measured:
    """BrokenRun if nothing ended within the window."""
    if not driven.finished:
        raise BrokenRun(f"no saga ended within {driven.window:.1f} s")
    before, after = edges
    used = {name: after[name].cpu - before[name].cpu for name in after}
    return Measured(
        rate=driven.finished / driven.window,
        p50=percentile(driven.latencies, 50) * 1000,
        p99=percentile(driven.latencies, 99) * 1000,
        lone_p50=percentile(driven.lone, 50) * 1000,
        lone_p99=percentile(driven.lone, 99) * 1000,
        sagas=driven.finished,
        cpu={name: seconds / driven.finished * 1000 for name, seconds in used.items()},
        cores={name: seconds / driven.window for name, seconds in used.items()},
        peak={name: usage.peak / 1e6 for name, usage in peaks.items()},
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed; 0 of nothing."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
