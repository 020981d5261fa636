"""Every fault that is planted in the rules, and how it is looked for."""

from typing import Final

from faults_in_the_table import TABLE_FAULTS
from faults_of_messages import MESSAGE_FAULTS
from faults_of_steps import STEP_FAULTS
from faults_of_turning_back import TURNING_FAULTS
from saga_laws import faults_of
from saga_plans import Plan
from saga_rules import Fault, rules_with
from saga_stories import THRICE, TWICE, plan, step
from saga_walk import Walk

from orchestrator.saga.plan import OnExhausted, OnTimeout

FAULTS: Final = (*TABLE_FAULTS, *STEP_FAULTS, *TURNING_FAULTS, *MESSAGE_FAULTS)
RESENT: Final = {"on_timeout": OnTimeout.RESEND, "retry": TWICE}
HALT, CONTINUE = OnExhausted.HALT, OnExhausted.CONTINUE
# The small ones first: most faults show in them.
PROVING: Final[tuple[tuple[Plan, OnExhausted], ...]] = (
    (plan(), HALT),
    (plan("a"), HALT),
    (plan(step("a", retry=THRICE)), HALT),
    (plan("a", "b"), HALT),
    (plan("a", step("b", undo=False)), HALT),
    (plan("a", step("b", undo=False, pivot=True)), HALT),
    (plan(step("a", pivot=True, undo=False, retry=TWICE), step("b", undo=False)), HALT),
    (plan(step("a", **RESENT), step("b", **RESENT)), HALT),
    (plan("a", "b"), CONTINUE),
    (plan(["a", "b"]), HALT),
    (plan([step("a"), step("b", retry=TWICE)]), HALT),
    (plan(["a", "b"], "c"), HALT),
)
# How many arrows are tried of each plan: few at first, for most faults show at once; and not
# without end, for with a fault there may be no end to the sagas.
NEAR_AND_FAR: Final = (500, 5_000, 25_000)


def is_caught(fault: Fault) -> bool:
    """The law that is about it is broken somewhere."""
    rules = rules_with(fault)
    return any(
        fault.law in broken
        for most in NEAR_AND_FAR
        for planned, on_exhausted in PROVING
        for broken, _ in faults_of(Walk(planned, on_exhausted, rules=rules, most=most))
    )
