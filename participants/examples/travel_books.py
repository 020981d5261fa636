"""The travel agency's books: what can be booked, what was, and what was charged for it."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    MetaData,
    String,
    Table,
    insert,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from participants.examples.accounting import (
    Books,
    Row,
    counted,
    ledger,
    money,
    rows_of,
    saga_problems,
)

metadata: Final = MetaData()


offers: Final = Table(
    "travel_offers",
    metadata,
    Column("offer", String(100), primary_key=True),
    Column("places", BigInteger, nullable=False),
    Column("free", BigInteger, nullable=False),
    Column("cents", BigInteger, nullable=False),
    CheckConstraint("free >= 0", name="travel_offers_not_overbooked"),
)
# The kinds: "flight reserved", "flight released", "flight confirmed"; the same for hotel and car.
bookings: Final = ledger(
    metadata,
    "travel_bookings",
    Column("offer", String(100), nullable=False),
    Column("cents", BigInteger, nullable=False),
)
charges: Final = ledger(
    metadata,
    "travel_charges",
    Column("card", String(100), nullable=False),
    Column("cents", BigInteger, nullable=False),
)

THINGS: Final = ("flight", "hotel", "car")


async def create_missing(connection: AsyncConnection) -> None:
    """All tables of the agency, where they are missing."""
    await connection.run_sync(metadata.create_all)


async def offer(connection: AsyncConnection, name: str, places: int, cents: int) -> None:
    """Something that can be booked so many times, at a price."""
    row = {"offer": name, "places": places, "free": places, "cents": cents}
    await connection.execute(insert(offers).values(row))


async def balance(engine: AsyncEngine, completed: Collection[str]) -> Books:
    """Sum up the books once all sagas have ended, of which these have completed."""
    rows = await rows_of(engine, metadata)
    counts = counted(rows[table.name] for table in (bookings, charges))
    kinds = Counter(row["kind"] for row in rows["travel_bookings"])
    verbs = ("reserved", "released", "confirmed")
    lines = {
        f"{thing}s {verb}": str(kinds[f"{thing} {verb}"]) for thing in THINGS for verb in verbs
    }
    charged = sum(row["cents"] for row in rows["travel_charges"])
    return Books(
        lines={**lines, "charged": money(charged)},
        problems=[
            *_offer_problems(rows),
            *saga_problems(counts, completed, _wanted),
            *_charge_problems(rows),
        ],
    )


def _offer_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Offers of which more or fewer places are taken than the bookings say."""
    taken = Counter[str]()
    for row in rows["travel_bookings"]:
        verb = row["kind"].partition(" ")[2]
        taken[row["offer"]] += {"reserved": 1, "released": -1, "confirmed": 0}[verb]
    for row in rows["travel_offers"]:
        gone = row["places"] - row["free"]
        if gone != taken[row["offer"]]:
            yield f"offer {row['offer']}: {gone} places gone, {taken[row['offer']]} booked"


def _wanted(found: Counter[str], is_completed: bool) -> Mapping[str, int]:
    """What is reserved is confirmed and paid, or released and not paid."""
    booked = [thing for thing in THINGS if found[f"{thing} reserved"]]
    if not is_completed:
        verbs = ("reserved", "released")
        return {f"{thing} {verb}": 1 for thing in booked for verb in verbs}
    verbs = ("reserved", "confirmed")
    whole = {*booked, "flight", "hotel"}  # without these two there is no trip
    return {f"{thing} {verb}": 1 for thing in whole for verb in verbs} | {"charged": 1}


def _charge_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Each traveller pays what was confirmed, neither more nor less."""
    due, paid = Counter[str](), Counter[str]()
    for row in rows["travel_bookings"]:
        if row["kind"].endswith(" confirmed"):
            due[row["saga_id"]] += row["cents"]
    for row in rows["travel_charges"]:
        paid[row["saga_id"]] += row["cents"]
    for saga_id in sorted(due.keys() | paid.keys()):
        if due[saga_id] != paid[saga_id]:
            yield f"saga {saga_id}: {money(paid[saga_id])} paid, {money(due[saga_id])} due"
