"""Rounds: everybody in turn, again and again, so that good and bad minutes are shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.contestants import Contestant
from bench.driver import Effort
from bench.measuring import Measured, measure
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
        for number in range(1, wanted.rounds + 1):
            for entrant in _entrants(wanted, workload):
                run = _run(entrant, workload, number, wanted, servers)
                print(_line(run, wanted.rounds), flush=True)
                runs.append(run)
    return runs


def _entrants(wanted: Wanted, workload: Workload) -> Sequence[Contestant | Peer]:
    return [*wanted.contestants, *(wanted.peers if workload == LINE else ())]


def _run(
    entrant: Contestant | Peer, workload: Workload, number: int, wanted: Wanted, servers: Servers
) -> Run:
    folder = wanted.folder / f"{workload.name}-{number}-{entrant.name}"
    told = partial(Run, contestant=entrant.name, workload=workload.name, round=number)
    try:
        match entrant:
            case Peer():
                measured = measure_peer(entrant, wanted.effort, servers, folder)
            case Contestant():
                measured = measure(entrant, workload, wanted.effort, servers, folder)
    except Exception as error:  # whatever it was, it is told, and the others go on
        notes = "\n".join(getattr(error, "__notes__", []))
        problem = f"{type(error).__name__}: {error}\n{notes}".strip()
        return told(problem=problem)
    return told(measured=measured)


def _line(run: Run, rounds: int) -> str:
    head = f"{run.workload}, round {run.round} of {rounds}, {run.contestant}: "
    return head + (_numbers(run.measured) if run.measured else f"FAILED: {run.problem}")


def _numbers(measured: Measured) -> str:
    cores = ", ".join(f"{name} {value:.2f}" for name, value in measured.cores.items())
    return (
        f"{measured.rate:.0f} sagas/s, p50 {measured.p50:.0f} ms, p99 {measured.p99:.0f} ms, "
        f"alone {measured.lone_p50:.1f}/{measured.lone_p99:.1f} ms; cores: {cores}"
    )
