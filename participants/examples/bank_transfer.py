"""The services of the bank transfer: accounts, ledger, notices. Amounts are whole cents.

`saga participants run participants.examples.bank_transfer` runs all three; it needs
SAGA_INBOX_URL. `bank_books.py` has the tables and proves that no cent is lost.
"""

from typing import Annotated, Final

from pydantic import BaseModel, Field
from sqlalchemy import select, update

from participants import Context, NotFound, Participant, StepFailed
from participants.examples.accounting import Row, money, own_rows, write
from participants.examples.bank_books import accounts, create_missing, entries, movements, notices

account_service: Final = Participant("AccountService")
ledger_service: Final = Participant("LedgerService")
bank_notices: Final = Participant("BankNotices")

for _service in (account_service, ledger_service, bank_notices):
    _service.prepare(create_missing)

AccountNumber = Annotated[str, Field(min_length=1, max_length=34)]
Cents = Annotated[int, Field(strict=True, ge=1, le=10**15)]  # strict: 10.5 and "10" are refused


class Credit(BaseModel):
    to_account: AccountNumber
    amount_cents: Cents


class Transfer(Credit):
    from_account: AccountNumber


@account_service.action("Debit")
async def debit(command: Transfer, context: Context) -> None:
    """Take the money from the payer."""
    if command.from_account == command.to_account:
        raise StepFailed(f"account {command.from_account} cannot pay itself")
    payer = await _locked(context, command.from_account)
    if payer["balance_cents"] < command.amount_cents:
        raise StepFailed(
            f"insufficient funds: account {command.from_account} has"
            f" {money(payer['balance_cents'])}, and {money(command.amount_cents)} is wanted"
        )
    await _move(context, "debit", command.from_account, -command.amount_cents)


@account_service.compensation("ReverseDebit")
async def reverse_debit(command: Transfer, context: Context) -> None:
    """Give the payer back what was taken, also if the account has been frozen meanwhile."""
    taken = await own_rows(context, movements, "debit")
    if not taken:
        raise NotFound(f"nothing was taken from account {command.from_account}")
    for row in taken:
        await _move(context, "debit reversed", row["account"], -row["amount_cents"])


@account_service.action("Credit")
async def credit(command: Credit, context: Context) -> None:
    """Give the money to the payee: from here on it is theirs."""
    await _locked(context, command.to_account)
    await _move(context, "credit", command.to_account, command.amount_cents)


@ledger_service.action("RecordTransfer")
async def record_transfer(command: Transfer, context: Context) -> None:
    """Write the transfer down."""
    await write(
        context,
        entries,
        "transfer",
        debtor=command.from_account,
        creditor=command.to_account,
        amount_cents=command.amount_cents,
    )


@ledger_service.compensation("ReverseTransfer")
async def reverse_transfer(command: Transfer, context: Context) -> None:
    """Nothing is erased in a ledger: write down that the transfer does not hold."""
    recorded = await own_rows(context, entries, "transfer")
    if not recorded:
        raise NotFound("the transfer was not recorded")
    for row in recorded:
        same = {key: row[key] for key in ("debtor", "creditor", "amount_cents")}
        await write(context, entries, "transfer reversed", **same)


@bank_notices.action("Notify")
async def notify(command: Credit, context: Context) -> None:
    """Tell the payee."""
    text = f"{money(command.amount_cents)} has arrived."
    await write(context, notices, "notice", account=command.to_account, text=text)


async def _locked(context: Context, account: str) -> Row:
    """The account, which nobody else changes until we are done. StepFailed if it is of no use."""
    query = select(accounts).where(accounts.c.account == account).with_for_update()
    found = (await context.session.execute(query)).mappings().one_or_none()
    if found is None:
        raise StepFailed(f"there is no account {account}")
    if found["is_frozen"]:
        raise StepFailed(f"account {account} is frozen")
    return dict(found)


async def _move(context: Context, kind: str, account: str, cents: int) -> None:
    """Change a balance, and write down why."""
    changed = accounts.c.balance_cents + cents
    await context.session.execute(
        update(accounts).where(accounts.c.account == account).values(balance_cents=changed)
    )
    await write(context, movements, kind, account=account, amount_cents=cents)
