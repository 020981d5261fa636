"""Other orders than the mixed ones, for scenarios that need them."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.product.orders import FRAIL, PROMPT, Asked, mixed_orders, order


def orders_of_open_end(count: int, chance: Random) -> Iterator[Asked]:
    """Mixed orders that may complete or fail: what was lost for good has to be undone."""
    for asked in mixed_orders(count, chance):
        yield replace(asked, ends=None)


def frail_orders(count: int, chance: Random) -> Iterator[Asked]:
    """Good orders, and as many whose refund is the DLQ worker's as soon as it has failed once."""
    failing = {"fail_at": "create_shipment", "fail_compensation": {"process_payment": 1}}
    for number in range(count):
        is_good = chance.random() < 0.5
        yield Asked(
            saga_id=f"order-{number}",
            saga_type=PROMPT if is_good else FRAIL,
            data=order(number, **({} if is_good else failing)),
            ends="completed" if is_good else "failed",
        )


def changing_orders(count: int, chance: Random) -> Iterator[Asked]:
    """Mixed orders of the type of which there are two releases."""
    for asked in mixed_orders(count, chance):
        yield replace(asked, saga_type="ChangingOrder")
