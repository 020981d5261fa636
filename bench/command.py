"""The command line: who is measured, with what, how long; where the numbers go."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.contestants import CONTESTANTS
from bench.driver import Effort
from bench.peers.peer import PEERS
from bench.report import renew, told_of
from bench.rounds import Wanted, play
from bench.sites import found_servers
from bench.surroundings import surroundings
from bench.tables import section
from bench.workloads import LINE, WORKLOADS, Workload, grown


def main(arguments: Sequence[str]) -> int:
    """0 if every run could be measured and its sagas were all accounted for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the servers down
    asked = _parser().parse_args(arguments)
    wanted = Wanted(
        contestants=[CONTESTANTS[name] for name in asked.only if name in CONTESTANTS],
        peers=[PEERS[name] for name in PEERS if asked.peers or name in asked.only],
        workloads=_workloads(asked),
        rounds=asked.rounds,
        effort=Effort(
            seconds=asked.seconds, sagas=asked.sagas, warm_up=asked.warm_up, lone=asked.lone
        ),
        folder=asked.folder or Path(tempfile.mkdtemp(prefix="saga-bench-", dir="/tmp")),
    )
    with found_servers() as servers:
        found = asyncio.run(surroundings(servers))
        runs = play(wanted, servers)
    who = {each.name: each.about for each in wanted.contestants}
    who |= {each.name: each.about for each in wanted.peers}
    told = told_of(found, wanted.workloads, runs, who)
    (wanted.folder / "bench.json").write_text(json.dumps(told, indent=1) + "\n")
    print("\n\n".join(section(told)))
    if asked.report:
        renew(asked.report, told)
    return 1 if any(run.problem for run in runs if run.contestant not in PEERS) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of everybody in turn (5)")
    parser.add_argument("--seconds", type=float, default=10, help="measured in each run (10)")
    parser.add_argument("--sagas", type=int, help="measure so many instead of some seconds")
    parser.add_argument("--warm-up", type=float, default=2, help="seconds of load before (2)")
    parser.add_argument("--lone", type=int, default=50, help="sagas one by one after the load (50)")
    parser.add_argument(
        "--only",
        type=_names({**CONTESTANTS, **PEERS}),
        default=list(CONTESTANTS),
        metavar="NAME,…",
        help=f"of {', '.join(CONTESTANTS)}; and, installed on demand, {', '.join(PEERS)}",
    )
    parser.add_argument("--peers", action="store_true", help="all others, too, installed on demand")
    parser.add_argument(
        "--workloads",
        type=_names(WORKLOADS),
        default=[LINE.name],
        metavar="NAME,…",
        help=f"of {', '.join(WORKLOADS)}, or all ({LINE.name})",
    )
    parser.add_argument(
        "--finished",
        type=lambda text: [int(each) for each in text.split(",")],
        default=[],
        metavar="N,…",
        help="also measure with so many finished sagas in the tables, written by SQL",
    )
    parser.add_argument("--concurrency", type=int, help="sagas in flight (500)")
    parser.add_argument("--folder", type=Path, help="for the logs of the programs")
    parser.add_argument("--report", type=Path, help="the page whose tables are renewed")
    return parser


def _names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = list(known) if text == "all" else text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"no {', '.join(map(repr, unknown))}; there are {', '.join(known)}"
            )
        return names

    return parse


def _workloads(asked: argparse.Namespace) -> list[Workload]:
    chosen = [WORKLOADS[name] for name in asked.workloads]
    chosen += [grown(count) for count in asked.finished]
    if asked.concurrency:
        chosen = [replace(each, concurrency=asked.concurrency) for each in chosen]
    return chosen
