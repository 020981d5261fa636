"""Whether a run kept the rules, by what the books said at every moment of it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from orchestrator.saga.state import SagaState, StepStatus
from orchestrator.store.views import StepView
from orchestrator.testing.drill.books import times
from orchestrator.testing.drill.faults import HandlerFault
from orchestrator.testing.drill.running import Rest, Run
from orchestrator.testing.drill.story import Kind


class Rule(Enum):
    """What holds in every run. The value is how it is said."""

    ONCE = "an effect happens at most once"
    UNDONE_ONCE = "what is undone was done, and is undone once"
    NEVER_AGAIN = "what was undone is not done again"
    WHOLE = "of a completed saga every effect stands"
    NOTHING_LEFT = "of a failed saga no effect stands"
    AS_IT_SAYS = "where a saga waits for a person, what stands is what it says"
    ENDS = "a saga ends by itself once the fault is over"
    BALANCED = "the books add up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A rule that a run has broken. `at`: how many events had happened by then."""

    rule: Rule
    found: str
    step: str | None
    at: int


def breaches_of(run: Run, known: frozenset[str]) -> Sequence[Breach]:
    """Every rule that was broken. `known` are the steps of which the books speak at all."""
    end = len(run.events)
    if run.error is not None:
        return [Breach(rule=Rule.ENDS, found=run.error, step=None, at=end)]
    found = [
        *(breach for step in sorted(known) for breach in _moves(run, step)),
        *(breach for rest in run.rests for breach in _standing(run, rest, known)),
        *_halts(run),
    ]
    audited = [
        Breach(rule=Rule.BALANCED, found=problem, step=None, at=end) for problem in run.problems
    ]
    return [*found, *audited]


def _moves(run: Run, step: str) -> Iterator[Breach]:
    """At no moment an effect twice, or less than none."""
    before, rises = 0, 0
    for at, event in enumerate(run.events, start=1):
        if event.kind is not Kind.LEDGER or event.step != step:
            continue
        count, found = event.count, f"{step} stands {times(event.count)}"
        rises += max(0, count - before)
        if count > max(1, before):
            yield Breach(rule=Rule.ONCE, found=found, step=step, at=at)
        elif count < min(0, before):
            yield Breach(rule=Rule.UNDONE_ONCE, found=found, step=step, at=at)
        elif rises > 1 and count > before:
            again = f"{step} was undone, and stands again"
            yield Breach(rule=Rule.NEVER_AGAIN, found=again, step=step, at=at)
        before = count


def _standing(run: Run, rest: Rest, known: frozenset[str]) -> Iterator[Breach]:
    """What stands is what the saga's state promises."""
    rule = {
        SagaState.COMPLETED: Rule.WHOLE,
        SagaState.FAILED: Rule.NOTHING_LEFT,
    }.get(SagaState(rest.state), Rule.AS_IT_SAYS)
    for step in (each for each in rest.steps if each.name in known):
        count = rest.standing.get(step.name, 0)
        if count not in _allowed(run, rest, step):
            what = f"the saga is {rest.state}, {step.name} is {step.status}"
            found = f"{what}, and stands {times(count)}"
            yield Breach(rule=rule, found=found, step=step.name, at=len(run.events))


def _allowed(run: Run, rest: Rest, step: StepView) -> frozenset[int]:
    """How many effects of the step may stand."""
    any_of_them, none, one = frozenset({0, 1}), frozenset({0}), frozenset({1})
    if rest.state == SagaState.COMPLETED:
        return one
    if rest.state == SagaState.FAILED:
        # The author's ledger names effects; among mere calls, some need not be undone.
        is_call_only = run.cell.drill.ledger is None and step.compensation is None
        return any_of_them if is_call_only else none
    match StepStatus(step.status):
        case StepStatus.COMPLETED:
            return one
        case StepStatus.COMPENSATED | StepStatus.PENDING:
            return none
        case StepStatus.FAILED | StepStatus.COMPENSATION_FAILED if step.effect_unknown:
            return any_of_them
        case StepStatus.FAILED:
            return none
        case StepStatus.COMPENSATION_FAILED:
            return one
        case StepStatus.EXECUTING | StepStatus.COMPENSATING:
            return any_of_them


def _halts(run: Run) -> Iterator[Breach]:
    """Nobody is called for what the programs can settle by themselves."""
    last = run.rests[-1]
    if last.has_ended or _needs_person(run):
        return
    halted = last.halted_at
    for step in halted:
        found = f"{step.name} is {step.status}, and a person has to see to it: {step.error}"
        yield Breach(rule=Rule.ENDS, found=found, step=step.name, at=len(run.events))
    if not halted:
        found = f"it is {last.state}, and nothing will ever move it"
        yield Breach(rule=Rule.ENDS, found=found, step=None, at=len(run.events))


def _needs_person(run: Run) -> bool:
    """A step past the point of no return that says no for good."""
    plan, mine = run.cell.plan, run.cell.planned
    pivots = [step.stage for step in plan if step.pivot]
    is_past_pivot = mine is not None and bool(pivots) and mine.stage > pivots[0]
    return is_past_pivot and run.cell.fault.handler is HandlerFault.SAYS_NO
