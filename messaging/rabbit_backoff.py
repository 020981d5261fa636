"""How long to wait before RabbitMQ is tried again."""

import random


class Backoff:
    """Full jitter: 0.2 s to 30 s, or 1 s to 60 s while the broker refuses us."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        self._failures = 0

    def next_pause(self, *, is_refused: bool = False) -> float:
        first, maximum = (1.0, 60.0) if is_refused else (0.2, 30.0)
        ceiling = min(maximum, first * 2 ** min(self._failures, 10))
        self._failures += 1
        return random.uniform(ceiling / 10, ceiling)  # noqa: S311 - jitter, not a secret
