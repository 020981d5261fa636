"""A server program as a child process in a session of its own."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from servers.network import wait_until


class ServerProcess:
    """A running child. Ctrl-C at the terminal does not reach it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        directory: Path,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=env,
                start_new_session=True,
                **run_as(user),
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send to the server's main process."""
        if self.is_running():
            self._child.send_signal(number)

    def stop(self, number: signal.Signals, *, seconds: float) -> None:
        """Ask with `number`; kill what has not ended by then."""
        self.send(number)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the process and all its descendants, as when a machine dies.

        Returns when all are gone: a server does not start beside a child of its predecessor.
        """
        self.send(signal.SIGSTOP)  # no more children while they are counted
        family = [self.pid, *_descendants(self.pid)] if self.is_running() else []
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait(10)
        wait_until(lambda: not any(map(_is_alive, family)), seconds=10)


def run_as(user: str | None) -> dict[str, object]:
    """Arguments for `subprocess` that run a program as `user` and in that user's groups only."""
    return {"user": user, "group": _group_of(user), "extra_groups": []} if user else {}


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def _is_alive(pid: int) -> bool:
    """Whether it still holds anything: a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def _descendants(pid: int) -> Iterator[int]:
    """Children of children too. Servers put theirs into sessions of their own."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return
    for child in found:
        yield child
        yield from _descendants(child)
