"""The data of the sagas that are measured: some 200 bytes, and as many more as asked for."""

from typing import Any


def data_of(number: int, payload: int = 0) -> dict[str, Any]:
    """`payload` is how many bytes the filler has."""
    filler = {"filler": "x" * payload} if payload else {}
    return {
        "order_id": f"order-{number}",
        "customer_id": f"customer-{number % 1000}",
        "items": [{"sku": "A-1", "quantity": 2, "price": "9.50"}],
        "payment_method": "card",
        "shipping_address": {"street": "Long Street 1", "city": "Springfield"},
        **filler,
    }
