"""From runs to medians, ratios, tables and plots."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.driver import BrokenRun, Driven
from bench.measuring import numbers_of, percentile
from bench.plots import Point, bars, lines
from bench.processes import Usage
from bench.report import BEGIN, END, plots_of, renew, with_measurements
from bench.results import Run, Spread, measured_of, ratio_to, runs_of, spread_of
from bench.tables import section, spread

SVG = "{http://www.w3.org/2000/svg}svg"
PAGE = f"# Before\n\n{BEGIN}\nold numbers\n{END}\n\nAfter\n"


def test_a_median_comes_with_its_spread(runs: list[Run]) -> None:
    found = spread_of(measured_of(runs, "line", "countermand"), lambda each: each.rate)
    assert found == Spread(median=1500, lowest=1000, highest=2400)
    assert spread(found) == "1,500 [1,000–2,400]"
    assert spread(None) == "–"


def test_a_ratio_compares_runs_of_the_same_round(runs: list[Run]) -> None:
    found = ratio_to(runs, "line", "countermand", "null-codec")
    assert found == Spread(median=0.6, lowest=0.5, highest=0.8)


def test_without_a_ceiling_there_is_no_ratio(runs: list[Run]) -> None:
    assert ratio_to(runs, "line", "countermand", "null-aio-pika") is None
    assert ratio_to(runs, "at-a-time-10", "countermand", "null-codec") is None


def test_numbers_are_those_of_the_window() -> None:
    driven = Driven(
        finished=100, window=2.0, latencies=[0.1] * 99 + [0.5], lone=[0.01], started=150, failed=0
    )
    before, after = {"broker": Usage(cpu=1, peak=10)}, {"broker": Usage(cpu=2, peak=10)}
    found = numbers_of(driven, [before, after], {"broker": Usage(cpu=9, peak=2_000_000)})
    assert (found.rate, found.p50, found.p99) == (50, 100, 100)
    assert (found.cpu, found.cores, found.peak) == ({"broker": 10}, {"broker": 0.5}, {"broker": 2})


def test_a_window_without_an_end_of_a_saga_is_a_broken_run() -> None:
    driven = Driven(finished=0, window=2.0, latencies=[], lone=[], started=150, failed=0)
    with pytest.raises(BrokenRun, match="no saga ended within"):
        numbers_of(driven, [{}, {}], {})


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (75, 3), (99, 4), (1, 1)])
def test_a_percentile_is_a_value_that_was_there(percent: float, expected: float) -> None:
    assert percentile([4, 2, 1, 3], percent) == expected


def test_the_page_shows_every_contestant_and_every_failure(told: dict[str, Any]) -> None:
    shown = "\n\n".join(section(told))
    assert "| countermand | 1,500 [1,000–2,400] | – | 60 % [50–80] |" in shown
    assert "| null-codec | 0.25 · 50 MB | – | 0.50 · 600 MB | – | – |" in shown
    assert "- **null-codec**: about null-codec." in shown
    assert "**countermand**, round 4, could not be measured: BrokenRun: 1 | lost" in shown


def test_runs_survive_being_kept(told: dict[str, Any], runs: list[Run]) -> None:
    assert runs_of(json.loads(json.dumps(told))) == runs


def test_only_what_lies_between_the_markers_is_written_anew(
    told: dict[str, Any], tmp_path: Path
) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    renew(page, told)
    renew(page, told)
    text = page.read_text()
    assert text.startswith("# Before\n\n")
    assert text.endswith(f"{END}\n\nAfter\n")
    assert "old numbers" not in text
    for name in ("line", "concurrency", "finished"):
        assert f"![{name}](performance-{name}.svg)" in text
        assert _root((tmp_path / f"performance-{name}.svg").read_text()) == SVG
    assert json.loads((tmp_path / "performance.json").read_text()).keys() == told.keys()


def test_what_was_measured_at_other_times_stays_on_the_page(
    told: dict[str, Any], tmp_path: Path
) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    for workload, one in told.items():
        renew(page, {workload: one})
    assert json.loads(page.with_suffix(".json").read_text()) == told
    assert "### line" in page.read_text()


def test_a_page_without_markers_is_left_alone(told: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no lines"):
        with_measurements("# Nothing", told, [])


def test_what_was_measured_at_one_place_only_has_no_curve(told: dict[str, Any]) -> None:
    drawn = dict(plots_of(told))
    assert set(drawn) == {"line", "concurrency", "finished"}


def test_a_measured_beginning_of_a_curve_goes_before_the_line(told: dict[str, Any]) -> None:
    empty = deepcopy(told["finished-5"])
    empty["details"] |= {"name": "finished-0", "finished": 0}
    for run in empty["runs"]:
        run["workload"] = "finished-0"
        run["measured"]["rate"] = 1234.0
    drawn = dict(plots_of({**told, "finished-0": empty}))
    assert "1,234" in drawn["finished"]
    assert "1,234" not in dict(plots_of(told))["finished"]


def test_plots_are_svg_whatever_the_names() -> None:
    value = Spread(median=5, lowest=1, highest=9)
    for plot in (
        bars("a < b", {"x & y": value}),
        lines("t", "axis", "unit", {"x & y": [Point(at=0, value=value), Point(at=9, value=value)]}),
        lines("t", "axis", "unit", {"one": [Point(at=7, value=value)]}),
    ):
        assert _root(plot) == SVG


def _root(document: str) -> str:
    return ET.fromstring(document).tag  # noqa: S314 - our own
