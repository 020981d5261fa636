"""Environments of the peers, made once, under `.tools/bench/`."""

import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.peers.peer import Peer

FOLDER: Final = Path(__file__).resolve().parents[2] / ".tools" / "bench"


class NotInstallable(Exception):
    """This machine cannot have that peer; the last lines of the installer say why."""


def installed(peer: Peer) -> Path:
    """The folder with its `bin`, and its `node_modules` if it has some."""
    folder = FOLDER / peer.name
    mark = folder / "installed"
    wanted = "\n".join([*peer.packages, *peer.npm]) + "\n"
    if mark.exists() and mark.read_text() == wanted:
        return folder
    print(f"installing {peer.name}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *peer.packages])
    if peer.npm:
        if not shutil.which("npm"):
            raise NotInstallable("npm is not on the PATH; apt-get install npm")
        quiet = ["--silent", "--no-fund", "--no-audit"]
        _run(["npm", "install", *quiet, "--prefix", str(folder), *peer.npm])
    mark.write_text(wanted)
    return folder


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise NotInstallable(f"{' '.join(command)}: {' '.join(said) or done.returncode}")
