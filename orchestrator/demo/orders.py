"""What is ordered in the demo, and what is to become of each order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from orchestrator.examples.order_fulfillment import OrderFulfillmentSaga
from orchestrator.planning import plan_for
from participants.examples.books import Account

SAGA_TYPE: Final = OrderFulfillmentSaga.saga_type
STEPS: Final = tuple(step.name for step in plan_for(OrderFulfillmentSaga(), {}))
_RESERVE, _PAY, _SHIP, _CONFIRM = STEPS
_ALWAYS: Final = -1
_ARTICLES: Final = (("teapot", 2450), ("cup", 690), ("tray", 1800), ("kettle", 4990), ("tea", 320))


class Ending(StrEnum):
    """What has become of an order."""

    COMPLETED = "completed"
    FAILED = "failed"
    HALTED = "halted"  # a compensation has failed for good: a person has to act
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Orders that meet with the same trouble."""

    title: str
    percent: int = 0  # of all orders; at least one of each kind if there are enough
    fail_at: str | None = None
    fail_compensation: Mapping[str, int] = field(default_factory=dict)

    @property
    def ending(self) -> Ending:
        if self._stuck_at is not None:
            return Ending.HALTED
        return Ending.COMPLETED if self.fail_at is None else Ending.FAILED

    @property
    def rank(self) -> int:
        """Its place in a table: what goes well first, what goes worst last."""
        kinds = (FULFILLED, *_TROUBLES, STUBBORN)
        return kinds.index(self) if self in kinds else 0

    @property
    def account(self) -> Account:
        """What the books must say of such an order: each effect once, or done and undone once."""
        if self.fail_at is None:
            return Account(done=dict.fromkeys(STEPS, 1))
        done = STEPS[: STEPS.index(self.fail_at)]
        stuck = self._stuck_at
        undone = done if stuck is None else done[done.index(stuck) + 1 :]
        return Account(done=dict.fromkeys(done, 1), undone=dict.fromkeys(undone, 1))

    @property
    def _stuck_at(self) -> str | None:
        """The step whose compensation never succeeds."""
        failures = self.fail_compensation.items()
        return next((step for step, count in failures if count == _ALWAYS), None)


FULFILLED: Final = Kind(title="no trouble")
STUBBORN: Final = Kind(
    title="refund never succeeds", fail_at=_CONFIRM, fail_compensation={_PAY: _ALWAYS}
)
_TROUBLES: Final = (
    *(Kind(title=f"{step} fails", percent=8, fail_at=step) for step in STEPS),
    Kind(
        title="refunded at the third attempt",
        percent=4,
        fail_at=_SHIP,
        fail_compensation={_PAY: 2},
    ),
    Kind(
        title="cancelled at the second attempt",
        percent=4,
        fail_at=_CONFIRM,
        fail_compensation={_SHIP: 1},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    number: int
    kind: Kind

    @property
    def saga_id(self) -> str:
        return f"order-{self.number}"

    @property
    def cents(self) -> int:
        """What it costs."""
        return sum(cents * quantity for _, cents, quantity in self._lines())

    @property
    def data(self) -> dict[str, Any]:
        """The saga's input, with the trouble that it is to meet with."""
        trouble = {"fail_at": self.kind.fail_at, "fail_compensation": self.kind.fail_compensation}
        return {
            "order_id": str(self.number),
            "customer_id": f"customer-{self.number % 97}",
            "items": [
                {"sku": sku, "quantity": quantity, "price": cents / 100}
                for sku, cents, quantity in self._lines()
            ],
            "payment_method": "card",
            "shipping_address": {"street": f"{self.number} Harbour Road", "city": "Leith"},
            **{key: value for key, value in trouble.items() if value},
        }

    def _lines(self) -> Sequence[tuple[str, int, int]]:
        """Article, price and quantity of one to three articles."""
        chosen = [
            _ARTICLES[(self.number + line) % len(_ARTICLES)] for line in range(1 + self.number % 3)
        ]
        return [
            (sku, cents, 1 + (self.number + line) % 4) for line, (sku, cents) in enumerate(chosen)
        ]


def orders_for(count: int, fail: str | None) -> Sequence[Order]:
    """So many orders, in the order in which they are placed; with `fail`, all fail at that step."""
    failing = Kind(title=f"{fail} fails", fail_at=fail)
    kinds = _mixed(count) if fail is None else [failing] * count
    return [Order(number=number, kind=kind) for number, kind in enumerate(kinds, start=1)]


def _mixed(count: int) -> Sequence[Kind]:
    """Kinds spread evenly, but the one that takes longest comes first."""
    left = count - 1
    counts = {}
    for kind in (STUBBORN, *_TROUBLES):
        counts[kind.title] = kind, min(left, max(1, count * kind.percent // 100))
        left -= counts[kind.title][1]
    counts[FULFILLED.title] = FULFILLED, left + 1
    placed = [
        (kind is not STUBBORN, (index + 0.5) / number, kind.title, kind)
        for kind, number in counts.values()
        for index in range(number)
    ]
    return [kind for *_, kind in sorted(placed, key=lambda each: each[:3])]
