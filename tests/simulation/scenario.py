"""What is to happen in a run: sagas of a few steps, and how each step's handlers behave."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal

from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep
from orchestrator.registry import Registry

SERVICES: Final = ("Stock", "Courier", "Bank")  # the bank's effects are outside its database
# What a handler does the first time, the second, …; the last word holds from then on.
_ACTIONS: Final = (
    *[("ok",)] * 8,
    ("no", "ok"),
    ("no", "ok"),
    ("busy", "ok"),
    ("busy", "ok"),
    ("unsure", "ok"),
    ("broken", "ok"),
    ("broken",),
    ("slow", "ok"),
    ("slow",),
    ("never", "ok"),
    ("later",),
)
_UNDOINGS: Final = (
    *[("ok",)] * 5,
    ("no", "ok"),
    ("no", "no", "ok"),
    ("broken", "ok"),
    ("slow", "ok"),
    ("never", "ok"),
    ("later",),
    *[("no",)] * 3,
)


@dataclass(slots=True)
class Script:
    """How one step's handlers behave, and how often they were called."""

    actions: tuple[str, ...]
    undoings: tuple[str, ...]
    forgets: bool = False  # its participant keeps no failure that may be tried again
    calls: dict[str, int] = field(default_factory=lambda: {"action": 0, "compensation": 0})
    is_repaired: bool = False  # somebody has mended what made its compensation fail
    is_undone_by_hand: bool = False

    def next(self, direction: str) -> str:
        words = self.actions if direction == "action" else self.undoings
        index = min(self.calls[direction], len(words) - 1)
        self.calls[direction] += 1
        return "ok" if direction != "action" and self.is_repaired else words[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One saga that a client asks for."""

    saga_id: str
    saga_type: str
    stages: tuple[tuple[Mapping[str, Any], ...], ...]
    at: float
    by_message: bool
    cancel_at: float | None
    cancel_by_message: bool

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        return [step for stage in self.stages for step in stage]

    @property
    def data(self) -> dict[str, Any]:
        return {"stages": [list(stage) for stage in self.stages]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    orders: tuple[Order, ...]
    scripts: Mapping[tuple[str, str], Script]
    storm: float  # seconds until everything is healed
    delivery_limit: int
    has_operator: bool  # False: nobody comes, and what is parked stays so


class Halting(SagaOrchestrator):
    """Its plan comes with its data."""

    saga_type = "Halting"

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        return [[_step(each) for each in stage] for stage in data["stages"]]


class Going(Halting):
    """Goes on with earlier compensations when one has failed for good."""

    saga_type = "Going"
    on_compensation_exhausted: ClassVar[Literal["halt", "continue"]] = "continue"


REGISTRY: Final = Registry([Halting(), Going()])


def drawn(chance: random.Random) -> Scenario:
    """Two to four sagas of two to four steps."""
    orders = tuple(_order(f"order-{number}", chance) for number in range(1, chance.randint(3, 5)))
    scripts = {
        (order.saga_id, step["name"]): Script(
            chance.choice(_ACTIONS), chance.choice(_UNDOINGS), forgets=chance.random() < 0.25
        )
        for order in orders
        for step in order.steps
    }
    return Scenario(
        orders=orders,
        scripts=scripts,
        storm=12 + chance.random() * 12,
        delivery_limit=chance.choice((3, 20)),
        has_operator=chance.random() < 0.7,
    )


def _order(saga_id: str, chance: random.Random) -> Order:
    count = chance.randint(2, 4)
    pivot = chance.randrange(1, count) if chance.random() < 0.25 else count
    stages: list[list[Mapping[str, Any]]] = []
    for number in range(count):
        step = {
            "name": "abcd"[number],
            "service": chance.choice(SERVICES),
            "is_undoable": number < pivot and chance.random() < 0.85,
            "timeout": chance.choice((4, 8, 15)),
            "attempts": chance.choice((1, 1, 2)),
            "resends": chance.random() < 0.3,
            "is_pivot": number == pivot,
        }
        is_parallel = bool(stages) and chance.random() < 0.25 and number < pivot
        if is_parallel:
            stages[-1].append(step)
        else:
            stages.append([step])
    return Order(
        saga_id=saga_id,
        saga_type=chance.choice(("Halting", "Halting", "Going")),
        stages=tuple(tuple(stage) for stage in stages),
        at=chance.random() * 4,
        by_message=chance.random() < 0.7,
        cancel_at=chance.random() * 12 if chance.random() < 0.2 else None,
        cancel_by_message=chance.random() < 0.5,
    )


def _step(told: Mapping[str, Any]) -> SagaStep:
    service = told["service"]
    retry = RetryPolicy(max_attempts=told["attempts"], initial=timedelta(seconds=1))
    return SagaStep(
        told["name"],
        action=f"{service}.Do",
        compensation=f"{service}.Undo" if told["is_undoable"] else None,
        timeout=timedelta(seconds=told["timeout"]),
        retry=retry,
        compensation_retry=RetryPolicy(max_attempts=2, initial=timedelta(seconds=1)),
        on_timeout="resend" if told["resends"] else "compensate",
        pivot=told["is_pivot"],
    )
