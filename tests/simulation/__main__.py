"""`python -m tests.simulation`: many seeds on all cores, or the story of one."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import Outcome, simulate

_CHUNK = 50
_MOST_REPORTS = 5


def main() -> int:
    """0 if no seed breaks a law, 1 otherwise."""
    asked = _arguments()
    if asked.seed is not None:
        outcome = simulate(asked.seed)
        print(outcome.report)
        return 1 if outcome.breaches else 0
    return _many(asked.first, asked.seeds, asked.workers)


def _many(first: int, count: int, workers: int) -> int:
    began = time.monotonic()
    failures: list[Outcome] = []
    done = 0
    for ran, found in _outcomes(first, count, workers):
        done += ran
        for outcome in found:
            failures.append(outcome)
            print(outcome.report if len(failures) <= _MOST_REPORTS else f"seed {outcome.seed}")
        seconds = time.monotonic() - began
        rate = f"{done / seconds:.1f} a second"
        print(f"{done} of {count} seeds, {len(failures)} failed, {rate}", file=sys.stderr)
    print(f"{done} seeds from {first}: {len(failures)} broke a law")
    if failures:
        print(f"again: make simulate SEED={failures[0].seed}")
    return 1 if failures else 0


def _outcomes(first: int, count: int, workers: int) -> Iterator[tuple[int, list[Outcome]]]:
    """How many seeds were run, and those of them that failed, in the order of the seeds."""
    until = first + count
    starts = range(first, until, _CHUNK)
    stops = [min(start + _CHUNK, until) for start in starts]
    with ProcessPoolExecutor(workers) as pool:
        for start, stop, found in zip(starts, stops, pool.map(_failed, starts, stops), strict=True):
            yield stop - start, found


def _failed(first: int, until: int) -> list[Outcome]:
    outcomes = (simulate(seed) for seed in range(first, until))
    return [outcome for outcome in outcomes if outcome.breaches]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one, with its story")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
