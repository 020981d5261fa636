"""docs/reference/cli.md says what the commands say."""

from pathlib import Path

from orchestrator.cli.reference import page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_the_page_has_not_drifted() -> None:
    remedy = "run `python -m orchestrator.cli.reference > docs/reference/cli.md`"
    assert PAGE.read_text() == page(), remedy
