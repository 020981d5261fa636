"""The demo run as a program of its own, and what it told."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAGA = str(Path(sys.executable).parent / "saga")
ESCAPE = "\x1b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one demo."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)

    @property
    def commands(self) -> list[str]:
        """The command lines that it prints to go on with."""
        return [line.strip() for line in self.out.splitlines() if "SAGA_DATABASE_URL=" in line]


def surroundings(**more: str) -> Mapping[str, str]:
    """This environment without settings of ours or of terminals."""
    unwanted = ("SAGA_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TERM")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**bare, **more}


def ran(*command: str, cwd: Path, **more: str) -> Told:
    """Run a program to its end, its output in a pipe."""
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env=surroundings(**more),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Told(code=done.returncode, out=done.stdout, err=done.stderr)
