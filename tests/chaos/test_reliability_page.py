"""The page about reliability shows the register and the results that are kept beside it."""

from pathlib import Path

from tests.chaos.report import results_beside, with_table
from tests.chaos.scenario import all_left_out, all_scenarios

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
NUMBERS = set(range(1, 61))
PLAYED_AT_LEAST = 45


def test_every_scenario_is_played_or_left_out_for_a_reason() -> None:
    played = {each.number for each in all_scenarios()}
    left_out = {each.number for each in all_left_out() if each.why}
    assert played | left_out == NUMBERS
    assert played & left_out == set()
    assert len(played) >= PLAYED_AT_LEAST


def test_the_table_is_that_of_the_results() -> None:
    assert with_table(PAGE.read_text(), results_beside(PAGE)) == PAGE.read_text()


def test_what_was_played_lost_doubled_and_forgot_nothing() -> None:
    results = results_beside(PAGE)
    assert set(results) == {each.name for each in all_scenarios()}
    kinds = ("lost", "doubled", "stuck", "problems")
    found = {name: [result[kind] for kind in kinds] for name, result in results.items()}
    assert found == {name: [0, 0, 0, 0] for name in results}
