"""Every state that a saga of a given plan can reach, whatever happens to it in any order.

Moments are all alike: a clock may reach any of them first, as with timeouts of any length. Two
states are the same if they differ only in what no rule looks at (how long, how often beyond its
budget, which id), or in which of several like steps of one parallel stage is in which status.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, groupby, islice, permutations
from typing import Any

from saga_happenings import DATA, answers, at_any_time, people, redeliveries, settlements
from saga_rules import SOUND, Rules
from saga_shapes import Shapes, State
from saga_stories import NOON, pause

from orchestrator.saga.plan import OnExhausted, PlannedStep
from orchestrator.saga.start import requested
from orchestrator.saga.state import Decision, Event, Saga, Step, TimeReached


@dataclass(slots=True)
class Arrow:
    """One event and what follows from it."""

    rules: Rules
    before: Saga
    event: Event | None  # None: it begins
    decision: Decision
    is_new: bool = True  # leads to a saga whose like has not been seen

    @property
    def after(self) -> Saga:
        return self.decision.saga


class Walk:
    """Through all sagas of one plan. `states` and `arrows` say how many it has seen.

    Like steps of one stage count as one another if it is `symmetric`; what a saga owes makes it
    another one if `owing`; it stops after `most` arrows.
    """

    def __init__(
        self,
        plan: Sequence[PlannedStep],
        on_exhausted: OnExhausted,
        *,
        rules: Rules = SOUND,
        symmetric: bool = True,
        owing: bool = True,
        most: int | None = None,
    ) -> None:
        self.states = 0
        self.arrows = 0
        self.seen: set[State] = set()
        self._most = most
        self._plan = plan
        self._on_exhausted = on_exhausted
        self._rules = rules
        self.shapes = Shapes(plan, symmetric=symmetric, owing=owing)
        self._ahead: deque[Saga] = deque()  # the nearest first

    def __iter__(self) -> Iterator[Arrow]:
        for arrow in islice(chain(self._beginnings(), self._onwards()), self._most):
            self.arrows += 1
            yield arrow

    def _beginnings(self) -> Iterator[Arrow]:
        asked = requested(saga_id="s", saga_type="Order", data=DATA, input_digest="d", now=NOON)
        for cause in ("m", None):
            decision = self._rules.begin(
                asked,
                self._plan,
                on_exhausted=self._on_exhausted,
                now=NOON,
                delay=pause,
                cause=cause,
            )
            before = replace(asked, steps=tuple(Step(plan=planned) for planned in self._plan))
            is_new = self._visit(decision.saga)
            yield Arrow(self._rules, before, None, decision, is_new)

    def _onwards(self) -> Iterator[Arrow]:
        decide, rules = self._rules.decide, self._rules
        while self._ahead:
            saga = self._ahead.popleft()
            for before, event in self._happenings(saga):
                decision = decide(before, event, now=NOON, delay=pause)
                is_new = decision.saga is not before and self._visit(decision.saga)
                yield Arrow(rules, before, event, decision, is_new)

    def _visit(self, saga: Saga) -> bool:
        """Go there later, if its like has not been seen. True: nor has its exact shape."""
        state, is_new_shape = self.shapes.state_of(saga)
        if state not in self.seen:
            self.seen.add(state)
            self.states += 1
            self._ahead.append(self.shapes.plain(saga))
        return is_new_shape

    def _happenings(self, saga: Saga) -> Iterator[tuple[Saga, Event]]:
        for step in self.shapes.unlike(saga):
            for event in chain(answers(step), people(step)):
                yield saga, event
        for event in chain(at_any_time(), redeliveries(saga), settlements(saga)):
            yield saga, event
        for moment in self._moments(saga):
            yield moment, TIME

    def _moments(self, saga: Saga) -> Iterator[Saga]:
        """The clock reaches the moments of any of the steps, and works in any order at all."""
        waiting = [step.name for step in saga.steps if step.deadline or step.retry_at]
        if not waiting and saga.resend_at:
            yield saga
        for size in range(1, len(waiting) + 1):
            for names in combinations(waiting, size):
                steps = tuple(
                    self.shapes.due(step) if step.name in names else step for step in saga.steps
                )
                for order in self._orders(steps) if size == len(waiting) > 1 else (steps,):
                    yield replace(saga, steps=order)

    def _orders(self, steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
        """The same steps, those of a stage in every order that makes a difference."""
        found: dict[Any, tuple[Step, ...]] = {(): ()}
        for _, stage in groupby(steps, key=lambda step: step.plan.stage):
            found = {
                (*known, *(self.shapes.number_of(step) for step in order)): (*before, *order)
                for order in permutations(stage)
                for known, before in found.items()
            }
        return iter(found.values())


TIME: Any = TimeReached()
