"""Orders to start sagas with, and what is asked of each."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STEPS = ("reserve_inventory", "process_payment", "create_shipment", "send_confirmation")
ORDER = "OrderFulfillment"
PROMPT = "PromptOrder"
HASTY = "HastyOrder"
EAGER = "EagerOrder"
FRAIL = "FrailOrder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One saga to start. `ends` is the state it must end in; None where both are right."""

    saga_id: str
    saga_type: str
    data: dict[str, Any]
    ends: str | None


def order(number: int, **trial: Any) -> dict[str, Any]:
    """An order's data; `trial` holds fail_at, fail_compensation and delay."""
    return {
        "order_id": str(number),
        "customer_id": f"C-{number % 7}",
        "items": [{"sku": f"A-{number % 5}", "quantity": 1 + number % 3, "price": 9.5}],
        "payment_method": "card",
        "shipping_address": {"street": "1 Quay Street", "city": "Porto"},
        **trial,
    }


def mixed_orders(count: int, chance: random.Random) -> Iterator[Asked]:
    """Good orders, orders that fail at each step, stubborn compensations, and late steps."""
    for number in range(count):
        step = chance.choice(STEPS[1:])
        slow = {"delay": {chance.choice(STEPS): round(chance.uniform(0.02, 0.3), 3)}}
        match number % 8:
            case 0 | 1 | 2:
                yield _asked(number, PROMPT, "completed", **slow)
            case 3 | 4:
                yield _asked(number, PROMPT, "failed", fail_at=chance.choice(STEPS), **slow)
            case 5:
                undone = chance.choice(STEPS[: STEPS.index(step)])
                failing = {undone: chance.choice([1, 2, 6])}  # 6: one more than is tried
                yield _asked(number, PROMPT, "failed", fail_at=step, fail_compensation=failing)
            case 6:
                yield _asked(number, HASTY, None, **slow)
            case _:
                yield _asked(number, HASTY, None, delay={step: chance.choice([0.9, 1.0, 1.1, 1.5])})


def _asked(number: int, saga_type: str, ends: str | None, **trial: Any) -> Asked:
    data = order(number, **trial)
    return Asked(saga_id=f"order-{number}", saga_type=saga_type, data=data, ends=ends)
