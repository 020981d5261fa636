"""Thousands of storms: no saga is lost, stuck or half undone, and a seed is always the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.faults import Climate
from tests.simulation.run import simulate

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 2000
SEEDS_WITH_LOSSES = 150
CHUNK = 100
# Failures that are answered again and again, and messages that come twice, late or never.
REPETITION = Climate(
    duplicated=0.5, delayed=0.4, unconfirmed=0.3, lost=0.2, crash=0.005, zombie=0.005
)


@pytest.mark.parametrize("first", range(1, SEEDS, CHUNK))
def test_no_seed_breaks_a_law(first: int) -> None:
    for seed in range(first, first + CHUNK):
        outcome = simulate(seed)
        assert not outcome.breaches, f"make simulate SEED={seed}\n{outcome.report}"


@pytest.mark.parametrize("first", range(1, SEEDS_WITH_LOSSES, CHUNK // 2))
def test_no_seed_that_loses_commits_breaks_a_law(first: int) -> None:
    for seed in range(first, first + CHUNK // 2):
        outcome = simulate(seed, lost_commits=True)
        told = f"python -m tests.simulation --lost-commits --seed {seed}"
        assert not outcome.breaches, f"{told}\n{outcome.report}"


def test_repetitions_break_no_law() -> None:
    for seed in range(1, 61):
        outcome = simulate(seed, climate=REPETITION)
        assert not outcome.breaches, outcome.report


def test_a_seed_tells_the_same_story_twice() -> None:
    for seed in (3, 17, 29):
        assert simulate(seed).story == simulate(seed).story


def test_another_process_tells_the_same_story() -> None:
    """Whatever order its sets have, and whatever it has run before."""
    mine = "".join(simulate(seed).story for seed in (5, 6))
    program = (
        "import sys\nfrom tests.simulation.run import simulate\nsimulate(1)\n"
        "sys.stdout.write(''.join(simulate(seed).story for seed in (5, 6)))"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode() == mine


def test_losses_are_followed_by_what_the_guide_asks_for() -> None:
    told = "".join(simulate(seed, lost_commits=True).story for seed in range(1, 21))
    for words in (
        "fails over and loses",
        "is missed, and asked for again",
        "in doubt",
        "reconcile repairs stale_letters",
    ):
        assert words in told


def test_a_storm_has_every_fault_in_it() -> None:
    told = "".join(simulate(seed).story for seed in range(1, 61))
    for words in (
        "crashes before commit",
        "crashes after commit",
        "crashes after publishing",
        "crashes before acknowledging",
        "is taken for dead by the broker",
        "ends the sessions",
        "does not reach the database after commit",
        "is lost by the broker",
        "arrives twice",
        "s late",
        "is not confirmed",
        "does not arrive",
        "no queue takes it",
        "the broker is down",
        "database of the sagas is down",
        "jumps by",
        "has stopped",
        "cancel requested",
        "the operator retries",
        "the operator resolves",
        "by hand",
    ):
        assert words in told
