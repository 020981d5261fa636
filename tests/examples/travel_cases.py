"""The trip as it is played: a few seats, a few rooms, one car, and every way to fail."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from participants.examples import travel_books
from tests.examples.playing import Case, Example

OFFERS = {
    "flight BER-LIS": (30, 18_990),
    "flight BER-OPO": (0, 15_990),
    "hotel Mar": (30, 42_005),
    "hotel Sol": (0, 31_050),
    "car small": (30, 9_999),
    "car large": (0, 19_999),
}


async def fill(connection: AsyncConnection) -> None:
    for name, (places, cents) in OFFERS.items():
        await travel_books.offer(connection, name, places, cents)


def cases() -> Iterator[Case]:
    for number in range(6):
        yield _case(f"trip-{number}", "flight and hotel")
        yield _case(f"drive-{number}", "flight, hotel and car", car="car small")
    for number in range(2):
        yield _case(f"busy-{number}", "hotel busy after the charge", busy={"confirm_hotel": 2})
    for number in range(3):
        yield _case(f"seat-{number}", "no seat left", "reserve_flight", flight="flight BER-OPO")
        yield _case(f"room-{number}", "no room left", "reserve_hotel", hotel="hotel Sol")
        yield _case(f"car-{number}", "no car left", "reserve_car", car="car large")
        yield _case(f"card-{number}", "card declined", "charge", car="car small", limit_cents=100)


ERRORS = {
    "no seat left": "no flight: flight BER-OPO is booked out",
    "no room left": "no hotel: hotel Sol is booked out",
    "no car left": "no car: car large is booked out",
    "card declined": "the card is declined: 709.94",
}


def _case(saga_id: str, kind: str, fails_at: str | None = None, **wishes: Any) -> Case:
    data = {
        "flight": "flight BER-LIS",
        "hotel": "hotel Mar",
        "card": "card-on-file",
        "limit_cents": 100_000,
        **wishes,
    }
    error = ERRORS.get(kind, "")
    return Case(saga_id=saga_id, kind=kind, data=data, fails_at=fails_at, error=error)


TRAVEL_BOOKING = Example(
    name="travel-booking",
    saga_type="TravelBooking",
    module="travel_booking",
    cases=tuple(cases()),
    create_missing=travel_books.create_missing,
    fill=fill,
    balance=travel_books.balance,
)
