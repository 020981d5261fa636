"""The services of the trip: flights, hotels, cars, and the card that pays for all of them.

`saga participants run participants.examples.travel_booking` runs all four; it needs
SAGA_INBOX_URL. `travel_books.py` has the tables and proves that what is paid is booked.
"""

from typing import Annotated, Final

from pydantic import BaseModel, Field
from sqlalchemy import update

from participants import Context, NotFound, Participant, StepFailed
from participants.examples.accounting import money, own_rows, write
from participants.examples.travel_books import bookings, charges, create_missing, offers

flight_service: Final = Participant("FlightService")
hotel_service: Final = Participant("HotelService")
car_service: Final = Participant("CarService")
card_service: Final = Participant("CardService")

for _service in (flight_service, hotel_service, car_service, card_service):
    _service.prepare(create_missing)

Offer = Annotated[str, Field(min_length=1, max_length=100)]
Cents = Annotated[int, Field(strict=True, ge=0, le=10**12)]


class FlightWanted(BaseModel):
    flight: Offer


class HotelWanted(BaseModel):
    hotel: Offer


class CarWanted(BaseModel):
    car: Offer


class FlightReserved(BaseModel):
    flight_cents: Cents


class HotelReserved(BaseModel):
    hotel_cents: Cents


class CarReserved(BaseModel):
    car_cents: Cents = 0


class Bill(FlightReserved, HotelReserved, CarReserved):
    """What the reservations have answered; without a car, it costs nothing."""

    card: Annotated[str, Field(min_length=1, max_length=100)]
    limit_cents: Cents


class Confirmation(BaseModel):
    busy: dict[str, int] = {}
    """So many attempts at a step find its service busy: to see how a confirmation is retried."""


@flight_service.action("Reserve")
async def reserve_flight(command: FlightWanted, context: Context) -> FlightReserved:
    return FlightReserved(flight_cents=await _reserve(context, "flight", command.flight))


@flight_service.compensation("Release")
async def release_flight(command: dict[str, object], context: Context) -> None:
    await _release(context, "flight")


@flight_service.action("Confirm")
async def confirm_flight(command: Confirmation, context: Context) -> None:
    await _confirm(context, "flight", command)


@hotel_service.action("Reserve")
async def reserve_hotel(command: HotelWanted, context: Context) -> HotelReserved:
    return HotelReserved(hotel_cents=await _reserve(context, "hotel", command.hotel))


@hotel_service.compensation("Release")
async def release_hotel(command: dict[str, object], context: Context) -> None:
    await _release(context, "hotel")


@hotel_service.action("Confirm")
async def confirm_hotel(command: Confirmation, context: Context) -> None:
    await _confirm(context, "hotel", command)


@car_service.action("Reserve")
async def reserve_car(command: CarWanted, context: Context) -> CarReserved:
    return CarReserved(car_cents=await _reserve(context, "car", command.car))


@car_service.compensation("Release")
async def release_car(command: dict[str, object], context: Context) -> None:
    await _release(context, "car")


@car_service.action("Confirm")
async def confirm_car(command: Confirmation, context: Context) -> None:
    await _confirm(context, "car", command)


@card_service.action("Charge")
async def charge(command: Bill, context: Context) -> None:
    """The last one who may refuse."""
    cents = command.flight_cents + command.hotel_cents + command.car_cents
    if cents > command.limit_cents:
        raise StepFailed(f"the card is declined: {money(cents)} is above its limit")
    await write(context, charges, "charged", card=command.card, cents=cents)


async def _reserve(context: Context, thing: str, offer: str) -> int:
    """Take a place, and return its price in cents."""
    taken = await context.session.execute(
        update(offers)
        .where(offers.c.offer == offer, offers.c.free > 0)
        .values(free=offers.c.free - 1)
        .returning(offers.c.cents)
    )
    cents = taken.scalar_one_or_none()
    if cents is None:
        raise StepFailed(f"no {thing}: {offer} is booked out, or nobody offers it")
    await write(context, bookings, f"{thing} reserved", offer=offer, cents=cents)
    return int(cents)


async def _release(context: Context, thing: str) -> None:
    reserved = await own_rows(context, bookings, f"{thing} reserved")
    if not reserved:
        raise NotFound(f"no {thing} is reserved")
    for row in reserved:
        back = update(offers).where(offers.c.offer == row["offer"])
        await context.session.execute(back.values(free=offers.c.free + 1))
        same = {key: row[key] for key in ("offer", "cents")}
        await write(context, bookings, f"{thing} released", **same)


async def _confirm(context: Context, thing: str, command: Confirmation) -> None:
    """Turn the reservation into a booking. It cannot be refused any more, only take longer."""
    if context.attempt <= command.busy.get(context.step_name, 0):
        raise StepFailed(f"the {thing} cannot be confirmed just now", retryable=True)
    for row in await own_rows(context, bookings, f"{thing} reserved"):
        same = {key: row[key] for key in ("offer", "cents")}
        await write(context, bookings, f"{thing} confirmed", **same)
