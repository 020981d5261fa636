"""docs/performance.md shows what docs/performance.json has."""

import json
from pathlib import Path

import pytest

from bench.report import plots_of, with_measurements

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, RECORD = DOCS / "performance.md", DOCS / "performance.json"


@pytest.mark.skipif(not RECORD.exists(), reason="nothing has been recorded yet")
def test_the_page_and_its_plots_are_made_from_what_was_recorded() -> None:
    told = json.loads(RECORD.read_text())
    plots = dict(plots_of(told))
    assert PAGE.read_text() == with_measurements(PAGE.read_text(), told, list(plots))
    for name, plot in plots.items():
        assert (DOCS / f"performance-{name}.svg").read_text() == plot
