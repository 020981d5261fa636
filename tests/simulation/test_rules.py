"""Remove any one safety rule, and the simulator fails within a few seeds, or a few hundred."""

import pytest

from tests.simulation import sabotage_of_losses
from tests.simulation.faults import Climate
from tests.simulation.run import simulate
from tests.simulation.sabotage import RULES
from tests.simulation.test_simulation import REPETITION

MOST_SEEDS = 1000
OUTAGES = Climate(crash=0.02, unavailable=0.03, cut=0.01, database_outage=0.1, drain=0.3)
# What only shows when a command comes again after its saga has given up.
OF_REPETITION = {
    "late success is compensated",
    "compensation before its action leaves a tombstone",
    "retryable failure holds for its attempt",
}
OF_OUTAGES = {
    "dead letter is stored before it is acknowledged",
    "doubtful commit is taken as done",
}


@pytest.mark.parametrize("rule", sabotage_of_losses.RULES)
def test_without_this_rule_lost_commits_break_a_law(rule: str) -> None:
    with sabotage_of_losses.RULES[rule]():
        seeds = range(1, MOST_SEEDS + 1)
        assert any(simulate(seed, lost_commits=True).breaches for seed in seeds), (
            f"{MOST_SEEDS} seeds with lost commits did not notice that this is gone: {rule}"
        )


@pytest.mark.parametrize("rule", RULES)
def test_without_this_rule_a_law_is_broken(rule: str) -> None:
    climate = REPETITION if rule in OF_REPETITION else OUTAGES if rule in OF_OUTAGES else None
    with RULES[rule]():
        assert any(simulate(seed, climate=climate).breaches for seed in range(1, MOST_SEEDS + 1)), (
            f"{MOST_SEEDS} seeds did not notice that this is gone: {rule}"
        )
