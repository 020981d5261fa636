"""Every reachable saga of up to four steps keeps the laws; rules with a fault planted do not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from saga_laws import broken_laws
from saga_plans import MANNERS, plans, usual_plans
from saga_stories import TWICE, plan, step
from saga_walk import walk

from orchestrator.saga import decide, flow, interventions, moves, rules
from orchestrator.saga.draft import Draft
from orchestrator.saga.plan import OnExhausted, OnTimeout, PlannedStep
from orchestrator.saga.state import SagaState, StepStatus

FAST = (
    ("every", 1, "once"),
    ("every", 1, "resend"),
    ("every", 1, "stubborn"),
    ("every", 1, "twice"),
    ("every", 2, "once"),
    ("usual", 3, "once"),
)
SLOW = (
    ("every", 2, "resend"),
    ("every", 2, "stubborn"),
    ("every", 2, "twice"),
    ("usual", 3, "resend"),
    ("usual", 3, "twice"),
    ("usual", 4, "once"),
)
KINDS = {"every": plans, "usual": usual_plans}

Plan = tuple[PlannedStep, ...]


def first_fault(plan: Plan, on_exhausted: OnExhausted) -> str | None:
    for before, event, decision in walk(plan, on_exhausted):
        broken = broken_laws(before, event, decision)
        if broken:
            return f"{', '.join(broken)}: {event} in {before}"
    return None


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "size", "manner"),
    [*FAST, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)],
)
def test_every_reachable_saga_keeps_every_law(kind: str, size: int, manner: str) -> None:
    chosen = MANNERS[manner]
    for name, planned in KINDS[kind](size, chosen):
        fault = first_fault(planned, chosen.on_exhausted)
        assert fault is None, f"{name}: {fault}"


def test_the_walk_gets_about() -> None:
    """It sees every status and every state, and many sagas."""
    seen: set[str] = set()
    arrows = 0
    for _, _, decision in walk(plan("a", "b"), OnExhausted.HALT):
        arrows += 1
        seen |= {decision.saga.state, *(step.status for step in decision.saga.steps)}
    assert seen == {*SagaState, *StepStatus}
    assert arrows > 5000


# --- planted faults --------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def cell(status: StepStatus, column: int, rule: Any) -> Plant:
    """The table says something else in one place."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        row = list(decide.TABLE[status])
        row[column] = rule
        patch.setitem(decide.TABLE, status, tuple(row))  # type: ignore[arg-type]

    return plant


def instead(module: Any, name: str, planted: Any) -> Plant:
    """A function of the core does something else."""
    return lambda patch: patch.setattr(module, name, planted)


def never(*_: Any, **__: Any) -> bool:
    return False


def nothing(*_: Any, **__: Any) -> None:
    return None


def completed_again(draft: Draft, step: Any, reply: Any) -> Any:
    """A success counts in whatever status."""
    return rules.completed(draft, step, reply)


def retry_without_forgiveness(draft: Draft, event: Any) -> Any:
    decision = ORIGINAL_RETRY(draft, event)
    steps = tuple(replace(step, forgiven=0) for step in decision.saga.steps)
    return replace(decision, saga=replace(decision.saga, steps=steps))


def undo_all_at_once(draft: Draft) -> None:
    for each in draft.saga.steps:
        if each.status is StepStatus.COMPLETED and each.plan.compensation:
            moves.send_compensation(draft, each)
    ORIGINAL_UNDO(draft)


def undo_in_order_of_doing(draft: Draft) -> None:
    for each in draft.saga.steps:
        if flow._needs_undoing(each):
            moves.send_compensation(draft, each)
            return
    ORIGINAL_UNDO(draft)


def guard_nothing(draft: Draft, _sent_by: Any) -> None:
    draft.change(resend_at=None)


def forget_all(draft: Draft, _unroutable: Any) -> None:
    draft.change(outbound=())


ORIGINAL_RETRY = interventions.retry
ORIGINAL_UNDO = flow._undo_next
TIMED_OUT_COLUMN = 4

FAULTS: dict[str, Plant] = {
    "a success counts after the undoing": cell(StepStatus.COMPENSATED, 0, completed_again),
    "a success counts while undoing": cell(StepStatus.COMPENSATING, 0, completed_again),
    "a late success is ignored": cell(StepStatus.FAILED, 0, rules.duplicate),
    "a completed step may fail": cell(StepStatus.COMPLETED, 1, rules.failed),
    "a pending step may complete": cell(StepStatus.PENDING, 0, rules.completed),
    "a timeout is overlooked": cell(StepStatus.EXECUTING, TIMED_OUT_COLUMN, None),
    "an undoing counts before its action": cell(StepStatus.EXECUTING, 2, rules.compensated),
    "an effect that is unknown is left": instead(
        flow, "_needs_undoing", lambda step: step.status is StepStatus.COMPLETED
    ),
    "nothing blocks what is earlier": instead(flow, "_blocks_earlier", never),
    "all is undone at once": instead(flow, "_undo_next", undo_all_at_once),
    "undone in the order of doing": instead(flow, "_undo_next", undo_in_order_of_doing),
    "nothing is awaited before turning back": instead(flow, "_is_outstanding", never),
    "a failure does not turn it back": instead(flow, "is_turning_back", never),
    "the pivot is nothing special": instead(flow, "_has_been_passed", never),
    "nobody is called": instead(rules, "call_person", nothing),
    "nobody is called for a compensation": instead(moves, "call_person", nothing),
    "budgets are never used up": instead(
        rules,
        "fail",
        moves.retry_later,
    ),
    "an operator's retry counts": instead(decide, "retry", retry_without_forgiveness),
    "the clock guards nothing": instead(Draft, "guard", guard_nothing),
    "what came back settles the rest": instead(decide, "mark_unroutable", forget_all),
    "history is lost": instead(Draft, "_write", nothing),
}
RESENT = {"on_timeout": OnTimeout.RESEND, "retry": TWICE}
PROVING: tuple[Plan, ...] = (
    plan("a", "b"),
    plan(["a", "b"]),
    plan("a", step("b", undo=False, pivot=True), step("c", undo=False, retry=TWICE)),
    plan(step("a", **RESENT), step("b", **RESENT)),
)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_walk_finds_a_planted_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[fault](monkeypatch)
    assert any(_found(planned) for planned in PROVING)


def _found(planned: Plan) -> bool:
    try:
        return first_fault(planned, OnExhausted.HALT) is not None
    except Exception:  # a fault may also make the rules raise, which they never may
        return True
