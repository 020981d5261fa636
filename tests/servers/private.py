"""What private servers have in common: a directory, a process, and an end for both."""

import os
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from servers.network import wait_until
from servers.process import ServerProcess


class ServerFailed(Exception):
    """A server did not start. The message ends with the last lines of its log."""


class PrivateServer(ABC):
    """A throwaway server that its owner may stop, kill, pause and start again.

    A context manager: entering starts it, leaving stops it and removes its data. Everything
    here blocks; call it with `asyncio.to_thread` where an event loop must go on.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="saga-", dir="/tmp"))
        self._process: ServerProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with user and password; the same after a restart."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Program, version and place, for people."""

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def pid(self) -> int:
        """The process id of the server's main process."""
        assert self._process, f"{self.name} is not running"
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running()

    def start(self, *, seconds: float = 60) -> None:
        """Start on the data that is there and wait until the server answers."""
        if self.is_running():
            return
        self._process = self._launch()
        wait_until(lambda: self._answers() or not self.is_running(), seconds=seconds)
        if not (self.is_running() and self._answers()):
            self._process.kill()
            raise ServerFailed(f"{self.name} did not start; its log ends:\n{self._log_tail()}")

    def stop(self, *, seconds: float = 30) -> None:
        """Shut down in good order; the data stays."""
        if self._process:
            self.resume()
            self._process.stop(self.stop_signal, seconds=seconds)

    def kill(self) -> None:
        """End at once, as by a power cut; the data stays as it lies on the disk."""
        if self._process:
            self._process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the main process: connections stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._process:
            self._process.send(signal.SIGCONT)

    def close(self) -> None:
        """Stop and remove the data."""
        self.stop(seconds=10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _launch(self) -> ServerProcess:
        """Start the program, without waiting."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether clients are served."""

    def _log_tail(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-20:])
