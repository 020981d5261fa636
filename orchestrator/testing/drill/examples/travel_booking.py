"""The trip, drilled: what is paid is booked, and what is not paid is free again."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.examples.travel_booking import TravelBookingSaga
from orchestrator.testing.drill import Drill, Obstacle
from orchestrator.testing.drill.examples.entries import Entries, standing
from participants.examples import travel_books
from participants.examples.travel_booking import (
    car_service,
    card_service,
    flight_service,
    hotel_service,
)
from participants.examples.travel_books import THINGS, bookings, charges, offers

STEPS: Final = {
    **{
        f"reserve_{thing}": Entries(
            ledger=bookings, done=f"{thing} reserved", undone=(f"{thing} released",)
        )
        for thing in THINGS
    },
    **{f"confirm_{thing}": Entries(ledger=bookings, done=f"{thing} confirmed") for thing in THINGS},
    "charge": Entries(ledger=charges, done="charged"),
}
TRIP: Final = {"flight": "X1", "hotel": "Mar", "card": "on file", "limit_cents": 100_000}


async def offer_places(connection: AsyncConnection) -> None:
    for name in ("X1", "Mar", "small"):
        await travel_books.offer(connection, name, places=1, cents=10_000)


async def ledger(connection: AsyncConnection, saga_id: str) -> Mapping[str, int]:
    found = await standing(connection, saga_id, STEPS)
    return {step: count for step, count in found.items() if count or "car" not in step}


async def audit(engine: AsyncEngine, completed: Collection[str]) -> Sequence[str]:
    return (await travel_books.balance(engine, completed)).problems


async def _book_out(connection: AsyncConnection) -> None:
    await connection.execute(update(offers).where(offers.c.offer == "Mar").values(free=0))


async def _free(connection: AsyncConnection) -> None:
    await connection.execute(update(offers).where(offers.c.offer == "Mar").values(free=1))


drill: Final = Drill(
    saga=TravelBookingSaga,
    services=[flight_service, hotel_service, car_service, card_service],
    inputs={"flight and hotel": TRIP, "with a car": {**TRIP, "car": "small"}},
    fill=offer_places,
    ledger=ledger,
    audit=audit,
    obstacles={"reserve_hotel": Obstacle(put=_book_out, remove=_free)},
)
