"""The bank transfer, drilled: whatever happens, no cent is lost and none is there twice."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.examples.bank_transfer import BankTransferSaga
from orchestrator.testing.drill import Drill, Obstacle
from orchestrator.testing.drill.examples.entries import Entries, standing
from participants.examples import bank_books
from participants.examples.bank_books import accounts, entries, movements, notices
from participants.examples.bank_transfer import account_service, bank_notices, ledger_service

STEPS: Final = {
    "debit": Entries(ledger=movements, done="debit", undone=("debit reversed",)),
    "record": Entries(ledger=entries, done="transfer", undone=("transfer reversed",)),
    "credit": Entries(ledger=movements, done="credit"),
    "notify": Entries(ledger=notices, done="notice"),
}


async def open_accounts(connection: AsyncConnection) -> None:
    await bank_books.open_account(connection, "A-1", 100_000)
    await bank_books.open_account(connection, "A-2", 0)


async def ledger(connection: AsyncConnection, saga_id: str) -> Mapping[str, int]:
    return await standing(connection, saga_id, STEPS)


async def audit(engine: AsyncEngine, completed: Collection[str]) -> Sequence[str]:
    return (await bank_books.balance(engine, completed)).problems


def _frozen(account: str) -> Obstacle:
    """Nobody can take from it or give to it."""

    async def freeze(connection: AsyncConnection, *, is_frozen: bool = True) -> None:
        mine = update(accounts).where(accounts.c.account == account)
        await connection.execute(mine.values(is_frozen=is_frozen))

    async def thaw(connection: AsyncConnection) -> None:
        await freeze(connection, is_frozen=False)

    return Obstacle(put=freeze, remove=thaw)


drill: Final = Drill(
    saga=BankTransferSaga,
    services=[account_service, ledger_service, bank_notices],
    inputs={"a transfer": {"from_account": "A-1", "to_account": "A-2", "amount_cents": 3_333}},
    fill=open_accounts,
    ledger=ledger,
    audit=audit,
    obstacles={"debit": _frozen("A-1"), "credit": _frozen("A-2")},
)
