"""The words that every diagram of a definition has."""

from collections.abc import Sequence

from chassis.durations import spoken
from orchestrator.contracts.outlines import Layout, Outline
from orchestrator.saga.plan import OnTimeout, PlannedStep


def heading(outline: Outline, layout: Layout) -> str:
    return f"{outline.saga_type} · {layout.title}" if layout.title else outline.saga_type


def patience(step: PlannedStep) -> str:
    """How long a reply is awaited, and how often the action is sent."""
    attempts = step.retry.max_attempts
    tries = f", up to {attempts} times" if attempts > 1 else ""
    resent = ", then sent again" if step.on_timeout is OnTimeout.RESEND and not tries else ""
    return f"waits {spoken(step.timeout)}{tries}{resent}"


def pivot_of(plan: Sequence[PlannedStep]) -> PlannedStep | None:
    return next((step for step in plan if step.pivot), None)


def forward_from(plan: Sequence[PlannedStep]) -> int | None:
    """The first stage past the point of no return; None if there is none."""
    pivot = pivot_of(plan)
    return None if pivot is None else pivot.stage + 1
