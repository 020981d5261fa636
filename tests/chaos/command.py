"""The command line: which scenarios, from which seed, with how many sagas, reported where."""

import argparse
import logging
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.playing import Played, play
from tests.chaos.pool import ServerPool
from tests.chaos.report import renew
from tests.chaos.scenario import Scenario, all_left_out, all_scenarios, chosen

SAGAS = 60


def main(arguments: Sequence[str]) -> int:
    """0 if nothing was lost, doubled or stuck, and nothing else was wrong."""
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # customers try again by themselves
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the servers down
    asked = _parser().parse_args(arguments)
    if asked.list:
        _print_list()
        return 0
    scenarios = _selection(asked)
    seed = random.SystemRandom().randrange(100_000) if asked.seed is None else asked.seed
    print(
        f"seed {seed}, at least {asked.sagas} sagas in each of {len(scenarios)} scenarios",
        flush=True,
    )
    is_clean = True
    with ServerPool() as pool:
        for scenario in scenarios:
            played = play(scenario, pool, seed=seed, sagas=asked.sagas)
            is_clean = is_clean and played.verdict.is_clean
            print(_line(played), flush=True)
            if asked.report:
                renew(asked.report, played)
    return 0 if is_clean else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="names or numbers; without any, all")
    parser.add_argument("--list", action="store_true", help="show all scenarios and end")
    parser.add_argument("--short", action="store_true", help="only the selection for CI")
    parser.add_argument("--seed", type=int, help="repeat a run")
    parser.add_argument("--sagas", type=int, default=SAGAS, help="in each scenario, at least")
    parser.add_argument("--report", type=Path, help="the page whose table is renewed")
    return parser


def _selection(asked: argparse.Namespace) -> Sequence[Scenario]:
    if asked.scenarios:
        return chosen(",".join(asked.scenarios))
    return [each for each in all_scenarios() if each.is_short or not asked.short]


def _print_list() -> None:
    for each in all_scenarios():
        print(f"{each.number:2}  {each.name:32} {each.fault}{' (short)' if each.is_short else ''}")
    for out in all_left_out():
        print(f"{out.number:2}  {out.name:32} left out: {out.why}")


def _line(played: Played) -> str:
    verdict = played.verdict
    word = "ok  " if verdict.is_clean else "FAIL"
    numbers = (
        f"{verdict.sagas} sagas, {verdict.faults} faults, {verdict.parked} parked, "
        f"recovered in {verdict.recovery_seconds:.1f} s, {len(verdict.lost)} lost, "
        f"{len(verdict.doubled)} doubled, {len(verdict.stuck)} stuck, "
        f"{len(verdict.problems)} other problems"
    )
    story = f"\n{played.report}" if played.report else ""
    return f"{word} {played.scenario.number:2} {played.scenario.name}: {numbers}{story}"
