"""Server programs from Debian's or Ubuntu's archive, installed without starting services."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from servers.private import ServerFailed

_SCRIPT = Path(__file__).with_name("apt-install")


def can_install() -> bool:
    """Whether apt-get is here and we are root or may become it without a password."""
    return bool(shutil.which("apt-get")) and (os.geteuid() == 0 or _has_sudo())


def install(package: str) -> None:
    """Install `package`. Takes a minute or two."""
    print(f"services: installing {package} with apt-get", file=sys.stderr, flush=True)
    command = (
        [str(_SCRIPT), package] if os.geteuid() == 0 else ["sudo", "-n", str(_SCRIPT), package]
    )
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ServerFailed(f"apt-get could not install {package}:\n{done.stdout[-2000:]}")


def _has_sudo() -> bool:
    if not shutil.which("sudo"):
        return False
    command = ["sudo", "-n", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
