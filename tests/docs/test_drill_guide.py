"""The guide to drills: its block is a module, and prints what the guide shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

from orchestrator.testing.drill.definition import Drill
from orchestrator.testing.drill.mistakes import Mistake

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/drilling-a-saga.md").read_text()
SAGA = "import sys; from orchestrator.cli.main import main; sys.exit(main())"


def _block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_drill_of_the_guide_prints_what_the_guide_shows(tmp_path: Path) -> None:
    (tmp_path / "shop_drill.py").write_text(_block("python"))
    [shown] = re.findall(r"^saga (drill shop_drill.*)$", GUIDE, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", SAGA, *shown.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == _block("text")
    assert done.returncode == 3


def test_everything_that_an_author_can_say_is_in_the_guide() -> None:
    named = set(re.findall(r"`(\w+)", GUIDE))
    assert set(Drill.__dataclass_fields__) - named == set()


def test_every_mistake_that_has_a_name_is_in_the_guide() -> None:
    names = {mistake.value.name for mistake in Mistake} - {Mistake.UNEXPLAINED.value.name}
    assert {name for name in names if name not in GUIDE} == set()
