"""docs/rules.md says what the table says."""

from pathlib import Path

from orchestrator.saga.decide import TABLE
from orchestrator.saga.rules_page import rules_page

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_page_has_not_drifted() -> None:
    remedy = "run `python -m orchestrator.saga.rules_page > docs/rules.md`"
    assert PAGE.read_text() == rules_page(), remedy


def test_every_rule_of_the_table_is_explained() -> None:
    for row in TABLE.values():
        for rule in row:
            if rule is not None:
                words = rule.__name__.replace("_", " ")
                assert rule.__doc__, f"{words} has no docstring"
                assert f"| {words} | {rule.__doc__.split()[0]}" in rules_page()
