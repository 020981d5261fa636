"""The bank's books: accounts, their movements, the ledger; and the proof that no cent is lost."""

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
    Text,
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


accounts: Final = Table(
    "bank_accounts",
    metadata,
    Column("account", String(34), primary_key=True),
    Column("opening_cents", BigInteger, nullable=False),
    Column("balance_cents", BigInteger, nullable=False),
    Column("is_frozen", Boolean, nullable=False),
    CheckConstraint("balance_cents >= 0", name="bank_accounts_not_overdrawn"),
)
movements: Final = ledger(
    metadata,
    "bank_movements",
    Column("account", String(34), nullable=False),
    Column("amount_cents", BigInteger, nullable=False),  # negative: taken from the account
)
entries: Final = ledger(
    metadata,
    "bank_entries",
    Column("debtor", String(34), nullable=False),
    Column("creditor", String(34), nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
)
notices: Final = ledger(
    metadata,
    "bank_notices",
    Column("account", String(34), nullable=False),
    Column("text", Text, nullable=False),
)

_TRANSFERRED: Final = {"debit": 1, "transfer": 1, "credit": 1, "notice": 1}
_UNDONE: Final = {"debit": "debit reversed", "transfer": "transfer reversed"}


async def create_missing(connection: AsyncConnection) -> None:
    """All tables of the bank, where they are missing."""
    await connection.run_sync(metadata.create_all)


async def open_account(
    connection: AsyncConnection, account: str, cents: int, *, is_frozen: bool = False
) -> None:
    """An account with its first balance. That is not a movement."""
    row = {"account": account, "opening_cents": cents, "balance_cents": cents}
    await connection.execute(insert(accounts).values(row | {"is_frozen": is_frozen}))


async def balance(engine: AsyncEngine, completed: Collection[str]) -> Books:
    """Sum up the books once all sagas have ended, of which these have completed."""
    rows = await rows_of(engine, metadata)
    counts = counted(rows[table.name] for table in (movements, entries, notices))
    opened = sum(row["opening_cents"] for row in rows["bank_accounts"])
    held = sum(row["balance_cents"] for row in rows["bank_accounts"])
    kinds = Counter(row["kind"] for row in rows["bank_entries"])
    return Books(
        lines={
            "in all accounts at first": money(opened),
            "in all accounts now": money(held),
            "transfers in the ledger": f"{kinds['transfer']}",
            "of these reversed": f"{kinds['transfer reversed']}",
            "notices": f"{len(rows['bank_notices'])}",
        },
        problems=[
            *_total_problems(opened, held),
            *_account_problems(rows),
            *saga_problems(counts, completed, _wanted),
        ],
    )


def _total_problems(opened: int, held: int) -> Iterator[str]:
    if held != opened:
        yield f"the accounts were opened with {money(opened)} and hold {money(held)}"


def _account_problems(rows: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Accounts of which balance, movements and ledger do not tell the same."""
    moved, entered = Counter[str](), Counter[str]()
    for row in rows["bank_movements"]:
        moved[row["account"]] += row["amount_cents"]
    for row in rows["bank_entries"]:
        cents = row["amount_cents"] if row["kind"] == "transfer" else -row["amount_cents"]
        entered[row["debtor"]] -= cents
        entered[row["creditor"]] += cents
    for row in rows["bank_accounts"]:
        name, change = row["account"], row["balance_cents"] - row["opening_cents"]
        if not change == moved[name] == entered[name]:
            yield (
                f"account {name}: its balance changed by {money(change)}, its movements say"
                f" {money(moved[name])}, the ledger says {money(entered[name])}"
            )


def _wanted(found: Counter[str], is_completed: bool) -> Mapping[str, int]:
    """A transfer happened once and whole, or what it did was undone."""
    return _TRANSFERRED if is_completed else _undone(found)


def _undone(found: Counter[str]) -> Mapping[str, int]:
    """As often reversed as done, and that once."""
    kinds = [kind for done, undone in _UNDONE.items() if found[done] for kind in (done, undone)]
    return dict.fromkeys(kinds, 1)
