"""What was done to the installation, and when."""

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    at: float  # seconds since the scenario began
    what: str

    def __str__(self) -> str:
        return f"{self.at:7.2f} s  {self.what}"


class FaultLog:
    """Counts the faults of one scenario. What heals is told too, but not counted."""

    def __init__(self) -> None:
        self.begin()
        self._lock = threading.Lock()
        self.count = 0
        self.lines: list[Fault] = []

    def begin(self) -> None:
        """The time of every fault is told from here."""
        self._began = time.monotonic()

    def played(self, what: str) -> None:
        with self._lock:
            self.count += 1
            self.lines.append(self._line(what))

    def told(self, what: str) -> None:
        with self._lock:
            self.lines.append(self._line(f"({what})"))

    def _line(self, what: str) -> Fault:
        return Fault(at=time.monotonic() - self._began, what=what)
