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
from bench.driver import ENOUGH, Effort
from bench.peers.peer import PEERS
from bench.report import renew, told_of, with_measurements
from bench.rounds import Wanted, play
from bench.sites import found_servers
from bench.surroundings import surroundings
from bench.tables import section
from bench.workloads import LINE, WORKLOADS, Workload, grown, purged


def main(arguments: Sequence[str]) -> int:
    """0 if every run could be measured and its sagas were all accounted for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the servers down
    parser = _parser()
    asked = parser.parse_args(arguments)
    workloads = _workloads(asked)
    if problem := _too_few(asked, workloads):
        parser.error(problem)
    wanted = Wanted(
        contestants=[CONTESTANTS[name] for name in asked.only if name in CONTESTANTS],
        peers=[PEERS[name] for name in PEERS if asked.peers or name in asked.only],
        workloads=workloads,
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
    parser.add_argument("--rounds", type=_at_least_one, default=5, help="of everybody in turn (5)")
    parser.add_argument(
        "--seconds", type=_positive, default=10, help="measured in each run, at least (10)"
    )
    parser.add_argument(
        "--sagas", type=_at_least_one, help="measure so many instead of some seconds"
    )
    parser.add_argument("--warm-up", type=float, default=2, help="seconds of load before (2)")
    parser.add_argument("--lone", type=int, default=50, help="sagas one by one after the load (50)")
    _add_whom_and_what(parser)
    parser.add_argument("--concurrency", type=_at_least_one, help="sagas in flight (500)")
    parser.add_argument("--folder", type=Path, help="for the logs of the programs")
    parser.add_argument("--report", type=_page, help="the page whose tables are renewed")
    return parser


def _add_whom_and_what(parser: argparse.ArgumentParser) -> None:
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
        type=_workload_names,
        default=[LINE.name],
        metavar="NAME,…",
        help=f"of {', '.join(WORKLOADS)}, or all, or none ({LINE.name})",
    )
    parser.add_argument(
        "--finished",
        type=_counts(at_least=0),
        default=[],
        metavar="N,…",
        help="also measure with so many finished sagas in the tables, written by SQL; "
        "0 is what to compare it with in the same run",
    )
    parser.add_argument(
        "--purged",
        type=_counts(at_least=1),
        default=[],
        metavar="N,…",
        help="also measure while the orchestrator deletes so many, in the background",
    )


def _at_least_one(text: str) -> int:
    return _whole_number(text, at_least=1)


def _whole_number(text: str, *, at_least: int) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    if (number := int(text)) < at_least:
        raise argparse.ArgumentTypeError(f"{text} is too few, at least {at_least}")
    return number


def _counts(*, at_least: int) -> Callable[[str], list[int]]:
    def parse(text: str) -> list[int]:
        return [_whole_number(each, at_least=at_least) for each in text.split(",")]

    return parse


def _positive(text: str) -> float:
    if (number := float(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text} is too short, more than 0")
    return number


def _page(text: str) -> Path:
    """Before hours are spent on measuring."""
    page = Path(text)
    try:
        with_measurements(page.read_text(), {}, [])
    except OSError as error:
        raise argparse.ArgumentTypeError(f"no such page: {text} ({error.strerror})") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
    return page


def _names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = list(known) if text == "all" else text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"no {', '.join(map(repr, unknown))}; there are {', '.join(known)}"
            )
        return names

    return parse


def _workload_names(text: str) -> list[str]:
    return [] if text == "none" else _names(WORKLOADS)(text)


def _too_few(asked: argparse.Namespace, workloads: Sequence[Workload]) -> str | None:
    """Why there would be no numbers, or wrong ones."""
    if not workloads:
        return "nothing to measure: name a workload, or give --finished or --purged"
    if asked.sagas is None:
        return None
    most = max(each.concurrency for each in workloads)
    if asked.sagas >= ENOUGH * most:
        return None
    return (
        f"--sagas {asked.sagas} is too few with {most} in flight, for they end in bunches: "
        f"at least {ENOUGH * most}, or --concurrency {max(1, asked.sagas // ENOUGH)}"
    )


def _workloads(asked: argparse.Namespace) -> list[Workload]:
    chosen = [WORKLOADS[name] for name in asked.workloads]
    chosen += [grown(count) for count in asked.finished]
    chosen += [purged(count) for count in asked.purged]
    if asked.concurrency:
        chosen = [replace(each, concurrency=asked.concurrency) for each in chosen]
    return chosen
