"""The shop's books: stock, vouchers, till, parcels; and the proof that nothing is left over."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
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

RETURN_CENTS: Final = 490
"""What the way back costs the customer."""

metadata: Final = MetaData()


shelves: Final = Table(
    "shop_shelves",
    metadata,
    Column("article", String(100), primary_key=True),
    Column("stocked", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    CheckConstraint("available >= 0", name="shop_shelves_not_negative"),
)
vouchers: Final = Table(
    "shop_vouchers",
    metadata,
    Column("voucher", String(100), primary_key=True),
    Column("cents", BigInteger, nullable=False),
    Column("is_redeemed", Boolean, nullable=False),
)
parcels: Final = Table(
    "shop_parcels",
    metadata,
    Column("saga_id", String(200), primary_key=True),
    Column("place", String(20), nullable=False),  # warehouse, away, or nowhere any more
)
# Kinds: taken, put back.
movements: Final = ledger(
    metadata,
    "shop_movements",
    Column("article", String(100), nullable=False),
    Column("quantity", BigInteger, nullable=False),
)
# Kinds: redeemed, restored.
redemptions: Final = ledger(
    metadata, "shop_redemptions", Column("voucher", String(100), nullable=False)
)
# Kinds: charged, refunded, return postage.
till: Final = ledger(metadata, "shop_till", Column("cents", BigInteger, nullable=False))
# Kinds: checked, packed, shipped, recalled, return opened, return received, download sent,
# download revoked, invoiced.
events: Final = ledger(metadata, "shop_events")

_UNDONE: Final = {
    "taken": "put back",
    "redeemed": "restored",
    "charged": "refunded",
    "download sent": "download revoked",
}
_RETURNED: Final = ("shipped", "return opened", "return received", "return postage")


async def create_missing(connection: AsyncConnection) -> None:
    """All tables of the shop, where they are missing."""
    await connection.run_sync(metadata.create_all)


async def stock(connection: AsyncConnection, article: str, quantity: int) -> None:
    """A shelf with an article."""
    row = {"article": article, "stocked": quantity, "available": quantity}
    await connection.execute(insert(shelves).values(row))


async def give_voucher(connection: AsyncConnection, voucher: str, cents: int) -> None:
    """A voucher, to be redeemed once."""
    row = {"voucher": voucher, "cents": cents, "is_redeemed": False}
    await connection.execute(insert(vouchers).values(row))


async def balance(engine: AsyncEngine, completed: Collection[str]) -> Books:
    """Sum up the books once all sagas have ended and the carrier has been there.

    `completed` are the sagas that have completed.
    """
    rows = await rows_of(engine, metadata)
    counts = counted(rows[table.name] for table in (movements, redemptions, till, events))
    kinds = sum(counts.values(), Counter())
    cents = _cents_by_kind(rows)
    return Books(
        lines={
            "parcels packed": str(kinds["packed"]),
            "parcels recalled": str(kinds["recalled"]),
            "parcels shipped": str(kinds["shipped"]),
            "returns opened": str(kinds["return opened"]),
            "returns received": str(kinds["return received"]),
            "downloads sent": str(kinds["download sent"]),
            "downloads revoked": str(kinds["download revoked"]),
            **{kind: money(cents[kind]) for kind in ("charged", "refunded", "return postage")},
        },
        problems=[
            *_shelf_problems(rows),
            *_voucher_problems(rows),
            *_refund_problems(rows),
            *saga_problems(counts, completed, _wanted),
        ],
    )


def _cents_by_kind(rows: Mapping[str, Sequence[Row]]) -> Counter[str]:
    cents = Counter[str]()
    for row in rows["shop_till"]:
        cents[row["kind"]] += row["cents"]
    return cents


def _shelf_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Articles of which the shelf and the ledger disagree."""
    gone = Counter[str]()
    for row in rows["shop_movements"]:
        gone[row["article"]] += row["quantity"] if row["kind"] == "taken" else -row["quantity"]
    for row in rows["shop_shelves"]:
        missing = row["stocked"] - row["available"]
        if missing != gone[row["article"]]:
            yield f"article {row['article']}: {missing} are gone, {gone[row['article']]} were taken"


def _voucher_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Vouchers that are spent and were not redeemed, or the other way round."""
    spent = Counter[str]()
    for row in rows["shop_redemptions"]:
        spent[row["voucher"]] += 1 if row["kind"] == "redeemed" else -1
    for row in rows["shop_vouchers"]:
        if spent[row["voucher"]] != int(row["is_redeemed"]):
            yield f"voucher {row['voucher']} is redeemed {spent[row['voucher']]} times"


def _refund_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Who is refunded gets back what was charged."""
    cents = {(row["saga_id"], row["kind"]): int(row["cents"]) for row in rows["shop_till"]}
    for (saga_id, kind), refunded in cents.items():
        charged = cents.get((saga_id, "charged"), 0)
        if kind == "refunded" and refunded != charged:
            yield f"saga {saga_id}: {money(charged)} charged, {money(refunded)} refunded"


def _wanted(found: Counter[str], is_completed: bool) -> Mapping[str, int]:
    """An order is whole, or all of it was undone; what was shipped has come back."""
    return _whole(found) if is_completed else _undone(found)


def _whole(found: Counter[str]) -> Mapping[str, int]:
    sent = ("download sent",) if found["download sent"] else ("taken", "packed", "shipped")
    chosen = [kind for kind in ("checked", "redeemed", "invoiced") if found[kind]]
    return dict.fromkeys(("charged", *sent, *chosen), 1)


def _undone(found: Counter[str]) -> Mapping[str, int]:
    wanted = [kind for done, undone in _UNDONE.items() if found[done] for kind in (done, undone)]
    if found["packed"]:
        wanted += ["packed", *(_RETURNED if found["shipped"] else ["recalled"])]
    if found["checked"]:
        wanted += ["checked"]
    return dict.fromkeys(wanted, 1)
