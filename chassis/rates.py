"""At most so many a second, and how many were left out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_MAX_KEYS: Final = 1000


class Passage(Enum):
    YES = auto()
    LAST = auto()  # the next ones of this second are left out
    NO = auto()


@dataclass(slots=True)
class _Second:
    began_at: float
    passed: int = 0
    suppressed: int = 0


class RateLimit:
    """Lets `limit` things a second pass for each key."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._seconds: dict[str, _Second] = {}

    def admit(self, key: str) -> tuple[Passage, int]:
        """Whether this one passes, and how many were suppressed in the last busy second before."""
        now = self._clock()
        second = self._seconds.get(key)
        if second is None or now - second.began_at >= 1:
            if len(self._seconds) >= _MAX_KEYS:
                self._seconds.clear()
            suppressed = second.suppressed if second is not None else 0
            self._seconds[key] = _Second(began_at=now, passed=1)
            return (Passage.LAST if self._limit == 1 else Passage.YES), suppressed
        if second.passed >= self._limit:
            second.suppressed += 1
            return Passage.NO, 0
        second.passed += 1
        return (Passage.LAST if second.passed == self._limit else Passage.YES), 0
