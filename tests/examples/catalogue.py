"""All examples that can be played, by name."""

from tests.examples.approval_cases import APPROVAL
from tests.examples.bank_cases import BANK_TRANSFER
from tests.examples.choreography_cases import ORDER_CHOREOGRAPHY
from tests.examples.shop_cases import SHOP_ORDER
from tests.examples.travel_cases import TRAVEL_BOOKING

EXAMPLES = {
    example.name: example
    for example in (BANK_TRANSFER, TRAVEL_BOOKING, APPROVAL, SHOP_ORDER, ORDER_CHOREOGRAPHY)
}
