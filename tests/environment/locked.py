"""What uv.lock installs, for machines without uv: requirements and constraints for pip."""

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main(directory: str, groups: Sequence[str]) -> None:
    """Write requirements.txt and constraints.txt; any group brings all extras with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    (place / "requirements.txt").write_text(_lines(requirements(project, groups)))
    (place / "constraints.txt").write_text(_lines(constraints(lock)))


def requirements(project: Mapping[str, Any], groups: Sequence[str]) -> Iterator[str]:
    """The project itself, editable, and what its dependency groups name."""
    extras = ",".join(project["project"]["optional-dependencies"]) if groups else ""
    yield f"--editable {ROOT}[{extras}]" if extras else f"--editable {ROOT}"
    for group in groups:
        yield from project["dependency-groups"][group]


def constraints(lock: Mapping[str, Any]) -> Iterator[str]:
    """The locked version of everything, whether it will be needed or not."""
    for package in lock["package"]:
        if "registry" in package["source"]:
            yield f"{package['name']}=={package['version']}"


def _lines(texts: Iterator[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
