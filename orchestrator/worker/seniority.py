"""Which of several workers is served first: the one that has run longest."""

from datetime import datetime


def priority_of(began: datetime) -> int:
    """A worker's priority at its queues: the earlier it began, the higher.

    It fits 64 bits with a sign. Milliseconds tell workers apart that are started together.
    """
    return -round(began.timestamp() * 1000)
