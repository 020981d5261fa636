"""`python -m tests.simulation`: many seeds on all cores, or the story of one."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.run import Outcome, simulate

_CHUNK = 50
_MOST_REPORTS = 5


def main() -> int:
    """0 if no seed breaks a law, 1 otherwise."""
    asked = _arguments()
    if asked.seed is not None:
        outcome = simulate(asked.seed, lost_commits=asked.lost_commits)
        print(outcome.report)
        return 1 if outcome.breaches else 0
    return _many(asked)


def _many(asked: argparse.Namespace) -> int:
    first, count = asked.first, asked.seeds
    began = time.monotonic()
    failures: list[Outcome] = []
    done = 0
    for ran, found in _outcomes(asked):
        done += ran
        for outcome in found:
            failures.append(outcome)
            print(outcome.report if len(failures) <= _MOST_REPORTS else f"seed {outcome.seed}")
        seconds = time.monotonic() - began
        rate = f"{done / seconds:.1f} a second"
        print(f"{done} of {count} seeds, {len(failures)} failed, {rate}", file=sys.stderr)
    print(f"{done} seeds from {first}: {len(failures)} broke a law")
    if failures:
        option = " --lost-commits" if asked.lost_commits else ""
        print(f"again: python -m tests.simulation --seed {failures[0].seed}{option}")
    return 1 if failures else 0


def _outcomes(asked: argparse.Namespace) -> Iterator[tuple[int, list[Outcome]]]:
    """How many seeds were run, and those of them that failed, in the order of the seeds."""
    until = asked.first + asked.seeds
    chunks = [
        range(start, min(start + _CHUNK, until)) for start in range(asked.first, until, _CHUNK)
    ]
    with ProcessPoolExecutor(asked.workers) as pool:
        failed = pool.map(partial(_failed, lost_commits=asked.lost_commits), chunks)
        for chunk, found in zip(chunks, failed, strict=True):
            yield len(chunk), found


def _failed(seeds: range, *, lost_commits: bool) -> list[Outcome]:
    outcomes = (simulate(seed, lost_commits=lost_commits) for seed in seeds)
    return [outcome for outcome in outcomes if outcome.breaches]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one, with its story")
    parser.add_argument(
        "--lost-commits",
        action="store_true",
        help="also fail the sagas' database over to an older state",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
