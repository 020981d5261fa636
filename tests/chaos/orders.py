"""Orders for scenarios in which it is not known beforehand how a saga must end."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.product.orders import Asked, mixed_orders


def orders_of_open_end(count: int, chance: Random) -> Iterator[Asked]:
    """Mixed orders that may complete or fail: what was lost for good has to be undone."""
    for asked in mixed_orders(count, chance):
        yield replace(asked, ends=None)
