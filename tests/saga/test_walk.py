"""Every reachable saga of up to four steps keeps the laws."""

from collections import deque

import pytest
from saga_laws import faults_of
from saga_plans import MANNERS, plans
from saga_walk import Walk

FAST = ((0, "once"), (1, "once"), (1, "dogged"), (2, "once"))
SLOW = (
    (1, "resend"),
    (1, "stubborn"),
    (1, "twice"),
    (2, "resend"),
    (2, "stubborn"),
    (2, "twice"),
    (2, "dogged"),
)


def first_fault(walk: Walk) -> tuple[list[str], str] | None:
    return next(iter(faults_of(walk)), None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("size", "manner"),
    [*FAST, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)],
)
def test_every_saga_of_one_or_two_steps_keeps_every_law(size: int, manner: str) -> None:
    for name, planned in plans(size, MANNERS[manner]):
        fault = first_fault(Walk(planned, MANNERS[manner].on_exhausted))
        assert fault is None, f"{name}: {fault}"


@pytest.mark.parametrize("size", [1, 2])
def test_it_does_not_matter_which_of_like_steps_is_which(size: int) -> None:
    """The walk that leaves out what is alike has seen the like of every saga."""
    manner = MANNERS["once"]
    for name, planned in plans(size, manner):
        short = Walk(planned, manner.on_exhausted)
        whole = Walk(planned, manner.on_exhausted, symmetric=False)
        for each in (short, whole):
            deque(each, maxlen=0)
        assert len({whole.shapes.in_order(state) for state in whole.seen}) == short.states, name
