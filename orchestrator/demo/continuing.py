"""The command lines to go on with: they work as they stand when they are pasted."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.demo.findings import Findings


def commands_to_go_on(findings: Findings, database_url: str) -> Sequence[str]:
    """To look at an order, and to do what only a person can do."""
    setting = f"SAGA_DATABASE_URL={shlex.quote(database_url)} {program()}"
    for letter in findings.letters:
        if saga_id := letter.stored.letter.saga_id:
            resolve = f"{setting} dlq resolve {letter.id} --reason 'refunded by hand'"
            return [f"{setting} show {saga_id}", resolve]
    return [f"{setting} list --limit 10", f"{setting} show {findings.example}"]


def program() -> str:
    """How to call the `saga` beside this Python from here: by its name if that finds it."""
    own = Path(sys.executable).parent / "saga"
    found = shutil.which("saga")
    if not own.exists() or (found and Path(found).resolve() == own.resolve()):
        return "saga"
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))
