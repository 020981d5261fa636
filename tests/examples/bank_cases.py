"""The bank transfer as it is played: ten accounts of which one is frozen, and four outcomes."""

from collections.abc import Iterator

from sqlalchemy.ext.asyncio import AsyncConnection

from participants.examples import bank_books
from tests.examples.playing import Case, Example

ACCOUNTS = [f"A-{number}" for number in range(10)]
FROZEN = "A-9"
OPENING = 100_000


async def fill(connection: AsyncConnection) -> None:
    for account in ACCOUNTS:
        await bank_books.open_account(connection, account, OPENING, is_frozen=account == FROZEN)


def cases() -> Iterator[Case]:
    """Money goes round among nine accounts; the odd cents show whether one is lost."""
    good = ACCOUNTS[:-1]
    for number in range(27):
        payer, payee = good[number % 9], good[(number * 2 + 1) % 9]
        if payer == payee:
            continue
        yield _case(f"transfer-{number}", "transferred", (payer, payee, 1_001 + 97 * number))
    for number in range(4):
        asked = (good[number], good[-1], 100_000_000)
        yield _case(f"poor-{number}", "insufficient funds", asked, "debit")
    for number in range(4):
        asked = (good[number], FROZEN, 3_333)
        yield _case(f"frozen-{number}", "account frozen at credit", asked, "credit")
    yield _case("unknown-0", "no such account at credit", (good[0], "A-10", 5), "credit")
    yield _case("itself-0", "to the same account", (good[0], good[0], 5), "debit")
    yield _case("half-0", "half a cent", (good[0], good[1], 10.5), "debit")


ERRORS = {
    "insufficient funds": "insufficient funds: account",
    "account frozen at credit": "account A-9 is frozen",
    "no such account at credit": "there is no account A-10",
    "to the same account": "cannot pay itself",
    "half a cent": "amount_cents",
}


def _case(
    saga_id: str, kind: str, asked: tuple[str, str, float], fails_at: str | None = None
) -> Case:
    payer, payee, cents = asked
    data = {"from_account": payer, "to_account": payee, "amount_cents": cents}
    error = ERRORS.get(kind, "")
    return Case(saga_id=saga_id, kind=kind, data=data, fails_at=fails_at, error=error)


BANK_TRANSFER = Example(
    name="bank-transfer",
    saga_type="BankTransfer",
    module="bank_transfer",
    cases=tuple(cases()),
    create_missing=bank_books.create_missing,
    fill=fill,
    balance=bank_books.balance,
)
