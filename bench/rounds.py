"""Rounds: everybody in turn, again and again, so that good and bad minutes are shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.contestants import Contestant
from bench.driver import Effort
from bench.measuring import Conditions, Measured, measure, with_a_past
from bench.peers.peer import Peer
from bench.peers.running import measure_peer
from bench.results import Run
from bench.sites import Servers
from bench.workloads import LINE, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    contestants: Sequence[Contestant]
    peers: Sequence[Peer] = ()  # on the main workload only
    workloads: Sequence[Workload]
    rounds: int
    effort: Effort
    folder: Path


def play(wanted: Wanted, servers: Servers) -> Sequence[Run]:
    """All runs. One that fails is told and kept as such; the others go on."""
    runs: list[Run] = []
    for workload in wanted.workloads:
        conditions = Conditions(workload=workload, effort=wanted.effort, servers=servers)
        with with_a_past(conditions, wanted.folder / f"{workload.name}-past") as ready:
            for number in range(1, wanted.rounds + 1):
                runs += [
                    _run(entrant, number, ready, wanted)
                    for entrant in _entrants(wanted, workload, runs)
                ]
    return runs


def _entrants(
    wanted: Wanted, workload: Workload, runs: Sequence[Run]
) -> Sequence[Contestant | Peer]:
    """Peers on the main workload only, and as long as none of their runs has failed."""
    failed = {run.contestant for run in runs if run.problem}
    peers = [
        each for each in wanted.peers if workload.name == LINE.name and each.name not in failed
    ]
    return [*wanted.contestants, *peers]


def _run(entrant: Contestant | Peer, number: int, conditions: Conditions, wanted: Wanted) -> Run:
    workload = conditions.workload.name
    folder = wanted.folder / f"{workload}-{number}-{entrant.name}"
    told = partial(Run, contestant=entrant.name, workload=workload, round=number)
    try:
        match entrant:
            case Peer():
                run = told(measured=measure_peer(entrant, conditions, folder))
            case Contestant():
                run = told(measured=measure(entrant, conditions, folder))
    except Exception as error:  # whatever it was, it is told, and the others go on
        notes = "\n".join(getattr(error, "__notes__", []))
        run = told(problem=f"{type(error).__name__}: {error}\n{notes}".strip())
    print(_line(run, wanted.rounds), flush=True)
    return run


def _line(run: Run, rounds: int) -> str:
    head = f"{run.workload}, round {run.round} of {rounds}, {run.contestant}: "
    return head + (_numbers(run.measured) if run.measured else f"FAILED: {run.problem}")


def _numbers(measured: Measured) -> str:
    cores = ", ".join(f"{name} {value:.2f}" for name, value in measured.cores.items())
    return (
        f"{measured.rate:.0f} sagas/s, p50 {measured.p50:.0f} ms, p99 {measured.p99:.0f} ms, "
        f"alone {measured.lone_p50:.1f}/{measured.lone_p99:.1f} ms; cores: {cores}"
    )
