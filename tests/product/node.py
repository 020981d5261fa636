"""The participant in Node.js, with its packages."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.product.installation import ROOT

EXAMPLE: Final = ROOT / "docs" / "examples" / "node"
PROGRAM: Final = "notification-service.mjs"
INSTALL_SECONDS: Final = 240.0


def missing_tools() -> str:
    """The names of those that are not on this machine."""
    return " and ".join(tool for tool in ("node", "npm") if shutil.which(tool) is None)


def install(folder: Path) -> None:
    """The example and its packages, into a folder of its own."""
    for name in ("package.json", PROGRAM):
        shutil.copy(EXAMPLE / name, folder)
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
    done = subprocess.run(
        ["npm", "install", *quiet],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    assert done.returncode == 0, done.stderr
