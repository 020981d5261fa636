"""The orders of a soak: mixed, endless, and the same again for the same seed."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.product.orders import HASTY, PROMPT, STEPS, Asked, order

WAITING = "compensating"
"""The state of a saga whose compensation never succeeds: it waits for a person."""

ARTICLES = 997

Trial = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of order: how many of a thousand, and what is to befall it."""

    share: int
    saga_type: str
    ends: str | None
    trial: Callable[[random.Random], Trial]


def mixed_orders(seed: int) -> Iterator[Asked]:
    """Without end. Whoever has the seed has them all: nobody needs to keep them."""
    chance = random.Random(seed)
    shares = [kind.share for kind in KINDS]
    number = 0
    while True:
        [kind] = chance.choices(KINDS, shares)
        data = order(number, **kind.trial(chance)) | {"items": _items(number)}
        saga_id = f"order-{number}"
        yield Asked(saga_id=saga_id, saga_type=kind.saga_type, data=data, ends=kind.ends)
        number += 1


def ends_by_itself(asked: Asked) -> bool:
    return asked.ends != WAITING


def _items(number: int) -> list[dict[str, Any]]:
    """Of so many articles that orders seldom wait for each other's row on the shelf."""
    return [{"sku": f"A-{number % ARTICLES}", "quantity": 1 + number % 3, "price": 9.5}]


def _good(_: random.Random) -> Trial:
    return {}


def _slow(chance: random.Random) -> Trial:
    return {"delay": {chance.choice(STEPS): round(chance.uniform(0.02, 0.3), 3)}}


def _failing(chance: random.Random) -> Trial:
    return {"fail_at": chance.choice(STEPS)}


def _stubborn(*failures: int) -> Callable[[random.Random], Trial]:
    """A step fails, and the compensation of one before it fails so many times."""

    def trial(chance: random.Random) -> Trial:
        failing = chance.randrange(1, len(STEPS))
        undone = STEPS[chance.randrange(failing)]
        return {"fail_at": STEPS[failing], "fail_compensation": {undone: chance.choice(failures)}}

    return trial


def _late(chance: random.Random) -> Trial:
    """About as long as anybody waits for it."""
    return {"delay": {chance.choice(STEPS): chance.choice([0.9, 1.0, 1.1, 1.5])}}


KINDS = (
    Kind(share=558, saga_type=PROMPT, ends="completed", trial=_good),
    Kind(share=40, saga_type=PROMPT, ends="completed", trial=_slow),
    Kind(share=200, saga_type=PROMPT, ends="failed", trial=_failing),
    Kind(share=80, saga_type=PROMPT, ends="failed", trial=_stubborn(1, 2)),
    Kind(share=20, saga_type=PROMPT, ends="failed", trial=_stubborn(6)),  # one more than is tried
    Kind(share=2, saga_type=PROMPT, ends=WAITING, trial=_stubborn(-1)),
    Kind(share=60, saga_type=HASTY, ends=None, trial=_good),
    Kind(share=40, saga_type=HASTY, ends=None, trial=_late),
)
