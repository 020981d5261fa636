"""Every reachable saga of up to four steps keeps the laws."""

import re
from collections import deque

import pytest
from saga_laws import faults_of
from saga_plans import MANNERS, plans
from saga_stories import plan
from saga_walk import Walk

from orchestrator.saga.plan import OnExhausted
from orchestrator.saga.state import SagaState, StepStatus

# How many steps, in which manner, and whether what a saga owes makes it another one.
FAST = ((0, "once", True), (1, "once", True), (1, "dogged", True))
SLOW = (
    (1, "resend", True),
    (1, "stubborn", True),
    (1, "twice", True),
    (2, "once", True),
    (2, "stubborn", False),
    (2, "twice", False),
    (2, "dogged", False),
)
# Of three steps those that people write: in a row and in parallel, with what cannot be undone or
# with a pivot; and one of four. `make walk` takes them all.
USUAL = (
    "a+ b+ c+",
    "a+ b- c+",
    "a- b+ c-",
    "a+ b+! c-",
    "a+ b-! c-",
    "a-! b- c-",
    "(a+ b+) c+",
    "(a+ b-) c-!",
    "a+ (b+ c+)",
    "a-! (b- c-)",
    "(a+ b+ c+)",
    "a+ b+ c+ d+",
)


def first_fault(walk: Walk) -> tuple[list[str], str] | None:
    return next(iter(faults_of(walk)), None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("size", "manner", "owing"),
    [*FAST, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)],
)
def test_every_saga_of_up_to_two_steps_keeps_every_law(size: int, manner: str, owing: bool) -> None:
    for name, planned in plans(size, MANNERS[manner]):
        fault = first_fault(Walk(planned, MANNERS[manner].on_exhausted, owing=owing))
        assert fault is None, f"{name}: {fault}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", USUAL)
def test_every_saga_of_three_steps_keeps_every_law(name: str) -> None:
    manner = MANNERS["once"]
    planned = dict(plans(len(re.findall(r"\w", name)), manner))[name]
    assert first_fault(Walk(planned, manner.on_exhausted, owing=False)) is None


def test_the_walk_gets_about() -> None:
    """It sees every status and every state, and many sagas."""
    seen: set[str] = set()
    walk = Walk(plan("a", "b"), OnExhausted.HALT)
    for arrow in walk:
        seen |= {arrow.after.state, *(step.status for step in arrow.after.steps)}
    assert seen == {*SagaState, *StepStatus}
    assert walk.states > 300
    assert walk.arrows > 10_000


def test_it_does_not_matter_which_of_like_steps_is_which() -> None:
    """The walk that leaves out what is alike has seen the like of every saga."""
    short = Walk(plan(["a", "b"]), OnExhausted.HALT)
    whole = Walk(plan(["a", "b"]), OnExhausted.HALT, symmetric=False)
    for walk in (short, whole):
        deque(walk, maxlen=0)
    assert len({whole.shapes.in_order(state) for state in whole.seen}) == short.states
    assert whole.states > 1.5 * short.states
