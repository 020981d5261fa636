"""The lock file and what is made of it for machines without uv."""

import re
import tomllib
from pathlib import Path

import pytest
from environment.locked import ROOT, constraints, main, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
PUBLIC = {"https://pypi.org", "https://files.pythonhosted.org"}


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0]


def test_the_lock_names_the_public_index_only() -> None:
    places = set(re.findall(r'"(https?://[^/"]+)', (ROOT / "uv.lock").read_text()))
    assert places == PUBLIC


def test_every_requirement_has_a_locked_version() -> None:
    locked = {line.partition("==")[0] for line in constraints(LOCK)}
    groups = list(PROJECT["dependency-groups"])
    named = [line for line in requirements(PROJECT, groups) if not line.startswith("--")]
    wanted = {_name(each) for each in (*named, *PROJECT["project"]["dependencies"])}
    assert named
    assert wanted - locked == set()


@pytest.mark.parametrize(("groups", "extras"), [([], False), (["test"], True)])
def test_extras_come_with_the_tests_and_not_with_the_demo(
    groups: list[str], extras: bool, tmp_path: Path
) -> None:
    main(str(tmp_path), groups)
    first, *_ = (tmp_path / "requirements.txt").read_text().splitlines()
    assert first.startswith(f"--editable {ROOT}")
    assert first.endswith("]") is extras
